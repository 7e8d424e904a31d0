#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write unicode_ranges.inc: the letters (\\p{L}) and numbers (\\p{N}) of Unicode, as tokenizers tell them apart.

usage: tools/model/unicode_ranges.py >tools/model/unicode_ranges.inc

Wants unicodedata2 of this version from PyPI, whose numbers are those of Unicode: Python's own tables are of the version
that was current when it was made. It is the version of the tokenizers package from 0.21.2 on.
"""
import sys
import unicodedata2 as unicodedata

UNICODE = "16.0.0"
COLUMNS = 110


def ranges(category):
    """The code points whose category begins with this letter, as a list of [first, last]."""
    found = []
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code))[0] != category:
            continue
        if found and found[-1][1] == code - 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return found


def print_table(name, category):
    print(f"\nstatic const code_range {name}[] = {{")
    line = "   "
    for first, last in ranges(category):
        item = f" {{ 0x{first:x}, 0x{last:x} }},"
        if len(line) + len(item) > COLUMNS:
            print(line)
            line = "   "
        line += item
    print(f"{line}\n}};")


if unicodedata.unidata_version != UNICODE:
    sys.exit(f"unicodedata2 is of Unicode {unicodedata.unidata_version}; {UNICODE} is wanted")
print("/* SPDX-License-Identifier: Apache-2.0 */")
print(f"/* Made by unicode_ranges.py from Unicode {unicodedata.unidata_version}; do not edit. First and last code"
      " point of each range. */")
print_table("letters", "L")
print_table("numbers", "N")
