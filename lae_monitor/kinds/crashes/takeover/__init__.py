"""Takes over the crashes of an older collector: `lae-monitor import`, for Antenna, Socorro and tar files.

found       what lies at a path: old reads files and tar files, each crash as an Old
importer    each as our own collector would have stored it, once, under its id, compared; removes the source when asked to
commands    what the command line says of it
"""
