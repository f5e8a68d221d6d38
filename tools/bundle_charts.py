#!/usr/bin/env python3
"""Writes the script that draws the charts of HTML reports: Vega, Vega-Lite and Vega-Embed out of vl-convert-python.

    bundle_charts.py FILE     (run by the build; needs PYTHONPATH=STRATA_CHARTS)

It stands within a <script> element, so what would end or change that element is refused.
"""

import os
import sys

import vl_convert


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__.strip())
    file = sys.argv[1]
    text = vl_convert.javascript_bundle()
    for word in ("</script", "<!--"):
        if word in text.lower():
            sys.exit(f"error: the bundle contains '{word}', expected none: it could not stand within a <script>")
    with open(file + ".part", "w", encoding="utf-8") as out:
        out.write(text)
    os.replace(file + ".part", file)


if __name__ == "__main__":
    main()
