#!/usr/bin/env python3
"""Writes tests/golden/safetensors_cases.json and safetensors_sample.safetensors.

The cases are handcrafted files, most of them bad, with the verdict of the reference implementation (the package
safetensors 0.8, which this needs beside numpy) and the error that strata must give, written here by hand.
`stricter` marks what the reference takes and strata refuses: what the format's text forbids, or beyond a limit of ours.
"""
import hashlib
import json
import pathlib
import struct

import numpy
import safetensors
import safetensors.numpy

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden"
CASES = []


def case(name, header, data=b"", error=None, stricter=False, length=None):
    header = header.encode() if isinstance(header, str) else header
    content = struct.pack("<Q", len(header) if length is None else length) + header + data
    raw_case(name, content, error, stricter)


def raw_case(name, content, error=None, stricter=False):
    entry = {"name": name, "bytes": content.hex(), "error": error, "stricter": stricter}
    try:
        tensors = safetensors.deserialize(content)
        entry["reference"] = "accepts"
        entry["tensors"] = sorted(
            [n, t["dtype"], list(t["shape"]), hashlib.sha256(t["data"]).hexdigest()] for n, t in tensors)
    except Exception as exception:  # the package raises its own type and, for bad arguments, others
        entry["reference"] = "rejects"
        entry["reason"] = str(exception).removeprefix("Error while deserializing: ")
    accepted = entry["reference"] == "accepts"
    assert accepted or error, f"{name}: the reference rejects: {entry['reason']}"
    assert not accepted or bool(error) == stricter, f"{name}: the reference accepts"
    CASES.append(entry)


def tensor(dtype="U8", shape="[4]", offsets="[0,4]", extra=""):
    return f'{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}{extra}}}'


def one(**fields):
    return f'{{"a":{tensor(**fields)}}}'


FOUR = b"\x01\x02\x03\x04"
A = "header: tensor 'a': "


def good_cases():
    case("no tensors", "{}")
    case("one tensor", one(), FOUR)
    case("padding behind the header", one() + " \n\t\r  ", FOUR)
    case("white space inside the header", '{ "a" :\n{"dtype" : "U8", "shape":[ 4 ],"data_offsets":[0 ,4]}}', FOUR)
    case("metadata", '{"__metadata__":{"format":"pt","k":"ä\\n\\u00e9"},"a":' + tensor() + "}", FOUR)
    case("empty metadata", '{"__metadata__":{}}')
    case("null metadata", '{"__metadata__":null}')
    case("metadata with a key twice", '{"__metadata__":{"k":"1","k":"2"}}')
    case("a name with escapes", '{"a\\u0000\\"\\ud83d\\ude00":' + tensor() + "}", FOUR)
    case("an empty name", '{"":' + tensor() + "}", FOUR)
    case("a scalar", one(dtype="F32", shape="[]"), FOUR)
    case("an empty tensor", one(dtype="F32", shape="[0,3]", offsets="[0,0]"))
    case("empty tensors at one place", f'{{"a":{tensor(shape="[0]", offsets="[0,0]")},"b":{tensor()},'
         f'"c":{tensor(shape="[0]", offsets="[4,4]")},"d":{tensor(shape="[0]", offsets="[0,0]")}}}', FOUR)
    case("two tensors out of order", f'{{"b":{tensor(offsets="[4,8]")},"a":{tensor()}}}', FOUR + FOUR)
    case("unknown fields", one(extra=',"x":{"dtype":[1.5,-2,null,true,"s",{}]},"shape2":[]'), FOUR)
    case("fields in another order", '{"a":{"data_offsets":[0,4],"shape":[2,2],"dtype":"I8"}}', FOUR)
    case("many dimensions", one(shape="[" + "1," * 40 + "4]"), FOUR)
    case("dimensions at the limit", one(shape="[" + "1," * 63 + "4]"), FOUR)
    case("zero before a product that would overflow",
         one(shape="[0,9223372036854775807,9223372036854775807]", offsets="[0,0]"))
    case("nesting at the limit", one(extra=',"x":' + "[" * 125 + "]" * 125), FOUR)
    case("a tensor name twice, the last counts", f'{{"a":{tensor(shape="[2]", offsets="[0,2]")},"a":{tensor()}}}', FOUR)
    case("the metadata's name inside a tensor", one(extra=',"__metadata__":1'), FOUR)
    case("a tiny number in an unknown field", one(extra=',"x":1e-999'), FOUR)
    bits = {"BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8,
            "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32,
            "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64}
    for dtype, width in bits.items():
        case(f"dtype {dtype}", one(dtype=dtype, shape="[8]", offsets=f"[0,{width}]"), bytes(range(width)))


def bad_lengths():
    raw_case("an empty file", b"", "expected at least 8 bytes, got 0")
    raw_case("seven bytes", b"\0" * 7, "expected at least 8 bytes, got 7")
    raw_case("a header of nothing", b"\0" * 8, "header: expected '{' as the first byte, got an empty header")
    case("header length beyond the file", "{}", length=3,
         error="expected a header of 3 bytes, got the end of the file after 2")
    case("header length at the limit beyond the file", "{}", length=100_000_000,
         error="expected a header of 100000000 bytes, got the end of the file after 2")
    too_long = "expected a header of at most 100000000 bytes, got {}\n  hint: is it a safetensors file?"
    case("header length over the limit", "{}", length=100_000_001, error=too_long.format(100_000_001))
    case("header length of 2^64 - 1", "{}", length=2**64 - 1, error=too_long.format(2**64 - 1))
    case("header length of 2^64 - 8", "{}", length=2**64 - 8, error=too_long.format(2**64 - 8))
    case("header length of 2^63", "{}", length=2**63, error=too_long.format(2**63))
    raw_case("a pickle", b"\x80\x04\x95\x0b\0\0\0\0\0\0\0}", too_long.format(0x0B950480))
    case("header one byte too short", one(), FOUR, length=len(one()) - 1,
         error=f"header: invalid JSON or UTF-8 at byte {len(one())}")


def bad_json():
    def invalid(name, header, byte, data=b""):
        case(name, header, data, error=f"header: invalid JSON or UTF-8 at byte {byte}")

    first = "header: expected '{' as the first byte, got 0x"
    case("a byte order mark", b"\xef\xbb\xbf{}", error=first + "ef")
    case("an array", "[]", error=first + "5b")
    case("a string", '"a"', error=first + "22")
    case("white space only", "    ", error=first + "20")
    case("leading white space", " {}", error=first + "20", stricter=True)
    invalid("an open object", "{", 2)
    invalid("a zero byte behind the object", b"{}\0", 3)
    invalid("zero bytes as padding", b"{}\0\0\0\0\0\0", 3)
    invalid("a zero byte in a name", b'{"a\0":1}', 4)
    invalid("text behind the object", "{} x", 4)
    invalid("a second object", "{}{}", 3)
    invalid("a trailing comma", '{"a":' + tensor() + ",}", 54, FOUR)
    invalid("a trailing comma in an array", one(shape="[4,]"), 31, FOUR)
    invalid("a comment", "{/**/}", 2)
    invalid("single quotes", "{'a':1}", 2)
    invalid("no colon", '{"a" 1}', 6)
    invalid("a name without quotes", "{a:1}", 2)
    invalid("a control character in a name", '{"a\n":1}', 4)
    invalid("a lone surrogate", '{"\\ud800":' + tensor() + "}", 9, FOUR)
    invalid("an unknown escape", '{"\\x41":1}', 4)
    invalid("a byte that is not UTF-8", b'{"\xff":' + tensor().encode() + b"}", 3, FOUR)
    invalid("an overlong slash", b'{"\xc0\xaf":' + tensor().encode() + b"}", 3, FOUR)
    invalid("a surrogate in UTF-8", b'{"\xed\xa0\x80":' + tensor().encode() + b"}", 4, FOUR)
    invalid("a cut-off UTF-8 sequence", b'{"\xc3":' + tensor().encode() + b"}", 4, FOUR)
    invalid("not UTF-8 behind the object", b"{}\xff", 3)
    invalid("a leading zero", one(shape="[04]"), 30, FOUR)
    invalid("a plus sign", one(shape="[+4]"), 29, FOUR)
    invalid("a hexadecimal number", one(shape="[0x4]"), 30, FOUR)
    invalid("NaN", one(extra=',"x":NaN'), 57, FOUR)
    case("a number out of range", one(extra=',"x":1e999'), FOUR, error="header: number out of range at byte 61")
    case("nesting over the limit", one(extra=',"x":' + "[" * 126 + "]" * 126), FOUR,
         error="header: expected at most 127 nested values, got more")
    case("nested objects over the limit", one(extra=',"x":' + '{"y":' * 130 + "1" + "}" * 130), FOUR,
         error="header: expected at most 127 nested values, got more")


def bad_metadata():
    text = "header: '__metadata__': "
    case("metadata that is a string", '{"__metadata__":"x"}', error=text + "expected an object of strings, got a string")
    case("metadata that is an array", '{"__metadata__":[]}', error=text + "expected an object of strings, got an array")
    case("metadata that is true", '{"__metadata__":true}', error=text + "expected an object of strings, got true")
    case("a number in metadata", '{"__metadata__":{"k":1}}', error=text + "'k': expected a string, got 1")
    case("null in metadata", '{"__metadata__":{"k":null}}', error=text + "'k': expected a string, got null")
    case("an object in metadata", '{"__metadata__":{"k":{}}}', error=text + "'k': expected a string, got an object")
    case("an array in metadata", '{"__metadata__":{"k":[]}}', error=text + "'k': expected a string, got an array")
    case("a tensor as metadata", f'{{"__metadata__":{tensor()}}}', FOUR,
         error=text + "'shape': expected a string, got an array")
    twice = "header: expected '__metadata__' once, got it twice"
    case("metadata twice", '{"__metadata__":{},"__metadata__":{}}', error=twice)
    case("metadata twice, once null", '{"__metadata__":null,"__metadata__":{}}', error=twice)


def bad_descriptions():
    case("a tensor that is a number", '{"a":1}', error=A + "expected an object, got 1")
    case("a tensor that is null", '{"a":null}', error=A + "expected an object, got null")
    case("a tensor that is a string", '{"a":"U8"}', error=A + "expected an object, got a string")
    case("a tensor that is an array", '{"a":["U8",[4],[0,4]]}', FOUR, stricter=True,
         error=A + "expected an object, got an array")
    case("a tensor without fields", '{"a":{}}', error=A + "expected 'dtype', which is missing")
    case("no dtype", '{"a":{"shape":[4],"data_offsets":[0,4]}}', FOUR, error=A + "expected 'dtype', which is missing")
    case("no shape", '{"a":{"dtype":"U8","data_offsets":[0,4]}}', FOUR,
         error=A + "expected 'shape', which is missing")
    case("no offsets", '{"a":{"dtype":"U8","shape":[4]}}', FOUR,
         error=A + "expected 'data_offsets', which is missing")
    case("dtype twice", one(extra=',"dtype":"U8"'), FOUR, error=A + "expected 'dtype' once, got it twice")
    case("shape twice", one(extra=',"shape":[4]'), FOUR, error=A + "expected 'shape' once, got it twice")
    case("offsets twice", one(extra=',"data_offsets":[0,4]'), FOUR,
         error=A + "expected 'data_offsets' once, got it twice")
    case("a bad tensor before a good one of its name", f'{{"a":{{}},"a":{tensor()}}}', FOUR,
         error=A + "expected 'dtype', which is missing")
    case("an unknown dtype", one(dtype="I128"), FOUR, error=A + "dtype: 'I128' is not known")
    case("a dtype in small letters", one(dtype="u8"), FOUR, error=A + "dtype: 'u8' is not known")
    case("an empty dtype", one(dtype=""), FOUR, error=A + "dtype: '' is not known")
    fields = '{"a":{"dtype":%s,"shape":[4],"data_offsets":[0,4]}}'
    case("a dtype that is a number", fields % "0", FOUR, error=A + "dtype: expected a string, got 0")
    case("a dtype that is null", fields % "null", FOUR, error=A + "dtype: expected a string, got null")
    case("a dtype that is an object", fields % '{"U8":null}', FOUR, stricter=True,
         error=A + "dtype: expected a string, got an object")


def bad_numbers():
    array, number = "expected an array, got ", "expected unsigned 64-bit integers, got "
    for field, label in (("shape", "shape"), ("offsets", "data_offsets")):
        def bad(name, value, error):
            case(f"{label}: {name}", one(**{field: value}), FOUR, error=f"{A}{label}: {error}")
        bad("a number", "4", array + "4")
        bad("null", "null", array + "null")
        bad("a string", '"4"', array + "a string")
        bad("an object", "{}", array + "an object")
        bad("a negative number", "[-1,4]", number + "-1")
        bad("minus zero", "[-0,4]", number + "0")
        bad("a fraction", "[0,4.0]", number + "4.0")
        bad("an exponent", "[0,4e0]", number + "4e0")
        bad("2^64", "[0,18446744073709551616]", number + "18446744073709551616")
        bad("a string inside", '[0,"4"]', number + "a string")
        bad("null inside", "[null,4]", number + "null")
        bad("true inside", "[true,4]", number + "true")
        bad("an array inside", "[[0],4]", number + "an array")
        bad("an object inside", "[{},4]", number + "an object")
    offsets = A + "data_offsets: expected two numbers, got "
    case("no offset at all", one(offsets="[]"), FOUR, error=offsets + "0")
    case("one offset", one(offsets="[0]"), FOUR, error=offsets + "1")
    case("three offsets", one(offsets="[0,4,4]"), FOUR, error=offsets + "more")


def bad_layouts():
    a, b = "tensor 'a': ", "tensor 'b': "
    behind = "expected {} bytes behind the header, as the tensors need, got {}"
    cut = behind + "\n  hint: the file is cut off: get it again"
    case("no data", one(), error=cut.format(4, 0))
    case("data one byte short", one(), FOUR[:3], error=cut.format(4, 3))
    case("data one byte long", one(), FOUR + b"x", error=behind.format(4, 5))
    case("data without tensors", "{}", b"x", error=behind.format(0, 1))
    case("a shape too small", one(shape="[3]"), FOUR,
         error=a + "data_offsets [0, 4]: expected 3 bytes for U8 [3], got 4")
    case("a shape too large", one(shape="[5]"), FOUR,
         error=a + "data_offsets [0, 4]: expected 5 bytes for U8 [5], got 4")
    case("a dtype too large", one(dtype="F64"), FOUR,
         error=a + "data_offsets [0, 4]: expected 32 bytes for F64 [4], got 4")
    case("an empty shape with bytes", one(shape="[0]"), FOUR,
         error=a + "data_offsets [0, 4]: expected 0 bytes for U8 [0], got 4")
    case("a hole at the start", one(offsets="[4,8]"), FOUR + FOUR,
         error=a + "data_offsets [4, 8]: expected to begin at 0 (a hole)")
    case("a hole between", f'{{"a":{tensor()},"b":{tensor(offsets="[5,9]")}}}', FOUR + FOUR + b"x",
         error=b + "data_offsets [5, 9]: expected to begin at 4 (a hole)")
    case("an overlap", f'{{"a":{tensor()},"b":{tensor(offsets="[3,7]")}}}', FOUR + FOUR[:3],
         error=b + "data_offsets [3, 7]: expected to begin at 4 (an overlap)")
    case("the same bytes twice", f'{{"a":{tensor()},"b":{tensor()}}}', FOUR,
         error=b + "data_offsets [0, 4]: expected to begin at 4 (an overlap)")
    case("a name twice that leaves a hole", f'{{"a":{tensor()},"a":{tensor(offsets="[4,8]")}}}', FOUR + FOUR,
         error=a + "data_offsets [4, 8]: expected to begin at 0 (a hole)")
    case("an end before the begin", f'{{"a":{tensor()},"b":{tensor(offsets="[4,0]")}}}', FOUR,
         error=b + "data_offsets [4, 0]: expected the end not before the begin")
    case("offsets of the whole range", one(offsets="[0,18446744073709551615]"), FOUR,
         error=a + "data_offsets [0, 18446744073709551615]: expected 4 bytes for U8 [4], got 18446744073709551615")
    case("a size beyond the file that its shape confirms", one(shape="[1000000000000]", offsets="[0,1000000000000]"),
         FOUR, error=cut.format(1000000000000, 4))
    over = a + "shape: the size overflows 64 bits"
    case("a shape that overflows", one(shape="[9223372036854775807,4]"), FOUR, error=over)
    case("a shape that wraps to its size", one(shape="[4611686018427387905,4]"), FOUR, error=over)
    case("a shape that wraps before a zero", one(shape="[4294967296,4294967296,0]", offsets="[0,0]"), error=over)
    case("a shape that overflows in bits", one(shape="[2305843009213693952]", offsets="[0,0]"), error=over)
    case("half a byte", one(dtype="F4", shape="[1]", offsets="[0,0]"), error=a + "expected whole bytes, got 4 bits of F4")
    case("three quarters of a byte", one(dtype="F6_E2M3", shape="[5]", offsets="[0,4]"), FOUR,
         error=a + "expected whole bytes, got 30 bits of F6_E2M3")
    case("dimensions over the limit", one(shape="[" + "1," * 64 + "4]"), FOUR, stricter=True,
         error=A + "shape: expected at most 64 dimensions, got more")
    case("a dimension of 2^63", one(shape="[0,9223372036854775808]", offsets="[0,0]"), stricter=True,
         error=a + "shape: expected less than 2^63, got 9223372036854775808")
    name = "n" * 300
    case("a long name is cut in messages", f'{{"{name}":{tensor(shape="[3]")}}}', FOUR,
         error=f"tensor '{name[:200]}…': data_offsets [0, 4]: expected 3 bytes for U8 [3], got 4")


def write_sample():
    """A file as the package writes it: what strata must read back, value by value."""
    numbers = numpy.arange(6, dtype=numpy.float32).reshape(2, 3) / 4 - 0.5
    tensors = {"floats": numbers, "doubles": numbers.astype(numpy.float64), "halves": numbers.astype(numpy.float16),
               "integers": numpy.arange(-3, 4, dtype=numpy.int64), "bytes": numpy.arange(5, dtype=numpy.uint8),
               "flags": numpy.array([True, False, True]), "scalar": numpy.array(7, dtype=numpy.int32),
               "empty": numpy.zeros((0, 4), dtype=numpy.float32)}
    path = GOLDEN / "safetensors_sample.safetensors"
    safetensors.numpy.save_file(tensors, path, metadata={"format": "np", "note": "für strata"})
    path.chmod(0o644)
    return path.read_bytes()


def main():
    assert safetensors.__version__.startswith("0.8."), safetensors.__version__
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for part in (good_cases, bad_lengths, bad_json, bad_metadata, bad_descriptions, bad_numbers, bad_layouts):
        part()
    raw_case("the sample file", write_sample())
    lines = ",\n".join(json.dumps(entry, ensure_ascii=True) for entry in CASES)
    (GOLDEN / "safetensors_cases.json").write_text(f"[\n{lines}\n]\n")
    print(f"{len(CASES)} cases, {sum(bool(entry['error']) for entry in CASES)} of them bad")


if __name__ == "__main__":
    main()
