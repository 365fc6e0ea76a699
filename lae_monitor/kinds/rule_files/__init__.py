"""Files of rules in TOML: throttle rules of crashes and classification rules of incidents are one language.

    table.py        a file's tables; each mistake becomes a sentence with file, rule and key
    conditions.py   keys of a condition -> a function
    patterns.py     regular expressions that cannot run for ever
    file.py         presets and files; the rules in force, read again when the file changes

A kind adds keys of its own (`unlisted`, `facility`) and says what a rule leads to (`result`, `category`).
"""
