"""crashes"""
