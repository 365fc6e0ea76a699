"""Crashes for programs that know Socorro's API: its addresses, arguments, names and errors.

routes          the addresses, and what each answers
crash           one crash: raw, its dumps, processed as far as it is possible without symbols
super_search    many crashes: searched, sorted, counted
"""
