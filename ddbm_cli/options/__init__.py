"""The options of each command, declared once: types, defaults, ranges, choices and help. Free of torch and pydantic.

`groups` holds what several commands share, the other modules one command each. The command line, `--help`, the
reference in the manual and the checks are derived from these declarations.
"""
