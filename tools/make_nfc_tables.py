#!/usr/bin/env python3
"""Writes the tables of NFC as the `tokenizers` package does it, and the golden file of its test.

    make_nfc_tables.py models/tokenizer/nfc_tables.cc tests/golden/nfc_checks.json

The package is asked about every code point, because its normalizers know the combining classes of an old Unicode: with
those of a newer one (or of a library), 98 marks would change places. Needs tokenizers==0.23.3; Python's unicodedata
only names the combining classes.

nfc_checks.json: `blocks`, the CRC-32 of what NFC makes of every code point of a block of 4096, alone and among marks
(`context`, with the code point at U+FFFC), one a line; `texts`, random strings of letters and marks with their NFC.
"""

import json
import random
import sys
import unicodedata
import zlib
from collections import defaultdict
from pathlib import Path

import tokenizers
from tokenizers import normalizers

NFC, NFD = normalizers.NFC().normalize_str, normalizers.NFD().normalize_str
CODE_POINTS = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
HANGUL = range(0xAC00, 0xD7A4)
BLOCK = 4096
# A letter and marks of the highest and the lowest class around the code point, and one that joins with many letters.
CONTEXT = "e\u0345\ufffc\u0334\u0301"


def decompositions():
    """Code point -> its full canonical decomposition, where it has one; Hangul is done by arithmetic."""
    full = {code: NFD(chr(code)) for code in CODE_POINTS if code not in HANGUL}
    return {code: text for code, text in full.items() if text != chr(code)}


def pairs(full):
    """(code, first, second, composes): one step of each decomposition; second is 0 where there is one character."""
    by_text = {text: code for code, text in reversed(full.items())}
    rows = []
    for code, text in full.items():
        if len(text) == 1:
            rows.append((code, ord(text), 0, False))
            continue
        first = text[0] if len(text) == 2 else chr(by_text[text[:-1]])
        assert ord(text[-1]) not in full and NFD(first) == text[:-1]
        rows.append((code, ord(first), ord(text[-1]), NFC(text) == chr(code)))
    return rows


def classes(full):
    """Code point -> combining class, found from which of two marks NFD puts first."""
    lowest, highest = "\u0334", "\u0345"  # of the classes 1 and 240, the highest
    marks = [chr(code) for code in CODE_POINTS if code not in full and code not in HANGUL
             and (NFD(highest + chr(code)) != highest + chr(code) or NFD(chr(code) + lowest) != chr(code) + lowest)]
    known = {}  # class -> a mark of which Python and the package hold the same: others stay where they are
    for mark in marks:
        known.setdefault(unicodedata.combining(mark), mark)
    found = {}
    for mark in marks:
        same = [value for value, other in known.items()
                if NFD(mark + other) == mark + other and NFD(other + mark) == other + mark]
        assert same == [unicodedata.combining(mark)], f"U+{ord(mark):04X} {same}"
        found[ord(mark)] = same[0]
    return found


def class_starts(found):
    starts, last = [], -1
    for code in range(0x110000):
        value = found.get(code, 0)
        if value != last:
            starts.append(code << 8 | value)
            last = value
    return starts


def print_numbers(file, name, kind, numbers):
    print(f"constexpr {kind} {name}[] = {{", file=file)
    line = "   "
    for number in numbers:
        if len(line) + len(f" {number:#x},") > 100:
            print(line, file=file)
            line = "   "
        line += f" {number:#x},"
    print(f"{line}\n}};", file=file)


def write_tables(file, rows, found):
    print(f"// Made by tools/make_nfc_tables.py from tokenizers {tokenizers.__version__}; not edited by hand.", file=file)
    print('#include "models/tokenizer/nfc.h"\n', file=file)
    print("namespace strata::unicode {\n\n// clang-format off", file=file)
    packed = [code << 43 | first << 22 | second << 1 | composes for code, first, second, composes in rows]
    print_numbers(file, "kDecompositions", "std::uint64_t", packed)
    print_numbers(file, "kCombiningStarts", "std::uint32_t", class_starts(found))
    print("// clang-format on\n", file=file)
    print("std::span<const std::uint64_t> decompositions() { return kDecompositions; }", file=file)
    print("std::span<const std::uint32_t> combining_starts() { return kCombiningStarts; }\n", file=file)
    print("}  // namespace strata::unicode", file=file)


def block_crc(codes):
    lines = [NFC(chr(code)) + "\n" + NFC(CONTEXT.replace("\ufffc", chr(code))) + "\n" for code in codes]
    return zlib.crc32("".join(lines).encode())


def random_texts(rows, found):
    rng = random.Random(20240918)
    by_class = defaultdict(list)
    for code, value in found.items():
        by_class[value].append(code)
    composing = [row for row in rows if row[3]]
    newer = [code for code in CODE_POINTS if unicodedata.combining(chr(code)) and code not in found]
    jamo = [*range(0x1100, 0x1114), *range(0x1160, 0x1177), *range(0x11A7, 0x11C4), 0xAC00, 0xAC01, 0xD7A3, 0xB155]

    def character():
        kind = rng.random()
        if kind < 0.04:
            return chr(rng.choice(newer))
        if kind < 0.30:
            return chr(rng.choice(by_class[rng.choice(list(by_class))]))
        if kind < 0.45:
            return chr(rng.choice(composing)[1])
        if kind < 0.60:
            return chr(rng.choice(composing)[2])
        if kind < 0.75:
            return chr(rng.choice(rows)[0])
        if kind < 0.9:
            return chr(rng.choice(jamo))
        return rng.choice("aeiouAEIOU é中\U0001f600\u0301\u0327\u0345")

    texts = ["".join(character() for _ in range(rng.randint(1, 10))) for _ in range(3000)]
    return [[text, NFC(text)] for text in texts]


def main():
    full = decompositions()
    rows, found = pairs(full), classes(full)
    with open(sys.argv[1], "w") as file:
        write_tables(file, rows, found)
    blocks = [block_crc([code for code in range(at, at + BLOCK) if not 0xD800 <= code < 0xE000])
              for at in range(0, 0x110000, BLOCK)]
    checks = {"tokenizers": tokenizers.__version__, "context": CONTEXT, "block": BLOCK, "blocks": blocks,
              "texts": random_texts(rows, found)}
    text = json.dumps(checks, ensure_ascii=False, separators=(",", ":")).replace("],[", "],\n[")
    Path(sys.argv[2]).write_text(text + "\n")
    print(f"{len(rows)} decompositions, {sum(row[3] for row in rows)} compositions, {len(found)} combining marks")


if __name__ == "__main__":
    main()
