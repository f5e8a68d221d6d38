#!/usr/bin/env python3
"""Writes models/tokenizer/unicode_tables.cc: the character classes that the `tokenizers` package uses.

    make_unicode_tables.py > models/tokenizer/unicode_tables.cc

The package is asked about every code point, because it mixes two Unicode versions: its regular expressions (\\p{L},
\\p{N}, \\s) come from Oniguruma, its Digits pre-tokenizer from Rust's char::is_numeric. Needs tokenizers==0.23.3.
"""

import tokenizers
from tokenizers import Regex, pre_tokenizers

CODE_POINTS = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]


def matched(pattern):
    """The code points that match, found as those that a removing split leaves nothing of."""
    split = pre_tokenizers.Split(Regex(pattern), "removed")
    return {code for code in CODE_POINTS if not split.pre_tokenize_str(chr(code))}


def class_starts():
    """(first code point, class bits) of every range of code points of equal class."""
    digits = pre_tokenizers.Digits(individual_digits=True)
    classes = {
        1: matched(r"\p{L}"),
        2: matched(r"\p{N}"),
        4: matched(r"\s"),
        8: {code for code in CODE_POINTS if len(digits.pre_tokenize_str(chr(code) + "a")) == 2},
    }
    starts, last = [], -1
    for code in CODE_POINTS:
        bits = sum(bit for bit, members in classes.items() if code in members)
        if bits != last:
            starts.append((code, bits))
            last = bits
    return starts


def main():
    print(f"// Made by tools/make_unicode_tables.py from tokenizers {tokenizers.__version__}; not edited by hand.")
    print('#include "models/tokenizer/unicode.h"\n')
    print("namespace strata::unicode {\n\n// clang-format off")
    print("constexpr std::uint32_t kClassStarts[] = {")
    line = "   "
    for code, bits in class_starts():
        start = f"0x{code << 4 | bits:x}"
        if len(line) + len(start) + 2 > 100:
            print(line)
            line = "   "
        line += f" {start},"
    print(f"{line}\n}};\n// clang-format on\n")
    print("std::span<const std::uint32_t> class_starts() { return kClassStarts; }\n")
    print("}  // namespace strata::unicode")


if __name__ == "__main__":
    main()
