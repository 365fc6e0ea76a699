"""sonar"""
