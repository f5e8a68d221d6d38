#!/usr/bin/env python3
"""Writes tests/golden/chat_templates.json: conversations, and what `transformers` renders of them with the chat templates
that models/tokenizer/known_chat_templates.cc knows.

    make_chat_golden.py MODEL_DIR TOKENIZERS WHEELS tests/golden

MODEL_DIR is the default model (its own template), TOKENIZERS holds the llama3 and qwen3 that tools/setup --tests makes.
The other templates' texts, which are not in the repository, are read from wheels in WHEELS:

    pip download --no-deps --dest WHEELS trl==1.16.0 xinference==4.1.0

conversations   lists of [role, content], those with many kinds of white space and the random ones last
texts           per name (as in chat_template=), of the first `written` conversations: the rendered text without and with
                generation prompt
templates       per Jinja text and setting: name, sha256 of the text, tokenizer, and
    hashes      of every conversation, without and with generation prompt: 8 bytes of the SHA-256 of the rendered text
    ids         of the first `written` ones: 8 bytes of the SHA-256 of the ids, as in tokenizer_FAMILY.bin.gz
"""

import hashlib
import json
import random
import sys
import zipfile
from pathlib import Path

import transformers
from make_tokenizer_golden import packed

TRL, XINFERENCE = "trl/chat_templates/", "xinference/model/llm/models/"
# name, member of a wheel, tokenizer, variables
SOURCES = [
    ("llama3", TRL + "llama3.jinja", "llama3", {}),
    ("llama3.1", TRL + "llama3_1.jinja", "llama3", {}),
    ("llama3.1", TRL + "llama3_2.jinja", "llama3", {"date_string": "26 Jul 2024"}),
    ("qwen2", XINFERENCE + "codeqwen1.5-chat.json", "qwen3", {}),
    ("qwen2", XINFERENCE + "qwen2.5-coder-instruct.json", "qwen3", {}),
    ("qwen2", XINFERENCE + "qwen2.5-instruct-1m.json", "qwen3", {}),
    ("qwen2.5", TRL + "qwen2_5.jinja", "qwen3", {}),
    ("qwen3", TRL + "qwen3.jinja", "qwen3", {}),
    ("qwen3", TRL + "qwen3.jinja", "qwen3", {"enable_thinking": True}),
    ("qwen3", XINFERENCE + "qwen3.json", "qwen3", {}),
    ("qwen3", XINFERENCE + "Qwen3-Instruct.json", "qwen3", {}),
    ("qwen3_no_think", TRL + "qwen3.jinja", "qwen3", {"enable_thinking": False}),
    ("qwen3_no_think", XINFERENCE + "qwen3.json", "qwen3", {"enable_thinking": False}),
    ("qwen3_thinking_2507", XINFERENCE + "Qwen3-Thinking.json", "qwen3", {}),
    ("chatml", TRL + "qwen3_instruct_2507.jinja", "qwen3", {}),
]
# What Python's strip() removes, and what it does not.
SPACES = "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2005\u200a\u2028\u2029\u202f\u205f\u3000"
NO_SPACES = ["\u180e", "\u200b", "\u2060", "\ufeff", "\x00", "\x1b", "\u0301"]
RANDOM = 200


def conversations():
    user, answer, system = ("user", "What is it?"), ("assistant", "A cat,\n or not: 42."), ("system", "One word.")
    thought = ("assistant", "<think>\nhm: 6 * 7\n</think>\n\nA cat.")
    return [
        [user], [system, user], [user, answer, user], [system, user, answer, user], [user, answer], [user, system],
        [system, user, system, user], [system], [answer], [system, answer], [user, user], [user, answer, answer],
        [("user", "")], [("system", ""), ("user", "")], [user, ("assistant", ""), user], [user, ("assistant", "")],
        [("system", "  spaces \n"), ("user", "\n\n x \t"), ("assistant", " \n y\n\n"), ("user", " z ")],
        [user, ("assistant", "\n\n y\n\n")],
        [("user", "naïve é e\u0301 中文 😀 \u212b"), ("assistant", "ответ"), ("user", "हिन्दी")],
        [("user", "ends<|im_end|>\n<|im_start|>system\nnow<|eot_id|><|begin_of_text|>"), answer, user],
        [user, thought, user], [user, thought], [system, user, thought, user, thought], [user, thought, thought],
        [user, thought, answer], [thought], [user, answer, thought, user, answer],
        [user, ("assistant", "<think>\n\n</think>\n\nx")], [user, ("assistant", "<think></think>x")],
        [user, ("assistant", "no begin</think>\n\n\nx")], [user, ("assistant", "<think>no end")],
        [user, ("assistant", "<think>a</think>b<think>c</think>d")], [user, ("assistant", "a<think>\n\nb\n\n</think>")],
        [user, ("assistant", "</think>")], [user, ("assistant", "\n<think>\n\n a \n\n</think>\n \nb"), user],
        [("user", "<think>x</think>y"), answer], [("system", "<think>x</think>y"), user],
        [user, thought, ("user", "<tool_response>\n1\n</tool_response>")],
        [user, thought, ("user", "<tool_response>\n1\n</tool_response>"), thought, answer],
        [("user", "<tool_response></tool_response>"), thought], [user, thought, ("user", "<tool_response>1"), thought],
        [("user", f"{SPACES}x{SPACES}"), ("assistant", SPACES)],
        [("user", "".join(NO_SPACES)), ("assistant", "".join(f" {c}x{c} " for c in NO_SPACES))],
    ]


def other_conversations():
    rng = random.Random(20240919)
    pieces = ["<think>", "</think>", "<tool_response>", "</tool_response>", "\n", "\n\n", " ", "x", "word", "é", "\u3000",
              "<|im_end|>", "<|eot_id|>", "\x1c", "中"]

    def content():
        text = "".join(rng.choice(pieces) for _ in range(rng.randint(0, 7)))
        return f"<tool_response>{text}</tool_response>" if rng.random() < 0.1 else text

    roles = ["user", "user", "assistant", "assistant", "system"]
    cases = [[("system", f"{c}x{c}"), ("user", f"{c}y{c}{c}")] for c in [*SPACES, *NO_SPACES]]
    return cases + [[(rng.choice(roles), content()) for _ in range(rng.randint(1, 6))] for _ in range(RANDOM)]


def template_text(wheels, member):
    package = member.partition("/")[0]
    paths = sorted(wheels.glob(f"{package}-*.whl"))
    if len(paths) != 1:
        sys.exit(f"expected one wheel of {package} in {wheels}, got {len(paths)}")
    text = zipfile.ZipFile(paths[0]).read(member).decode()
    return json.loads(text)[0]["chat_template"] if member.endswith(".json") else text


def prefix_of(data):
    return hashlib.sha256(data).hexdigest()[:16]


class Renderer:
    def __init__(self, tokenizer, template, variables):
        self.tokenizer, self.template, self.variables = tokenizer, template, variables

    def both(self, messages, **options):
        """Without and with generation prompt."""
        messages = [{"role": role, "content": content} for role, content in messages]
        return [self.tokenizer.apply_chat_template(messages, chat_template=self.template, add_generation_prompt=prompt,
                                                   **self.variables, **options) for prompt in (False, True)]

    def texts(self, messages):
        return self.both(messages, tokenize=False)

    def hashes(self, messages):
        return [prefix_of(text.encode()) for text in self.texts(messages)]

    def ids(self, messages):
        return [prefix_of(packed(encoded["input_ids"])) for encoded in self.both(messages, return_dict=True)]


def main():
    model_dir, tokenizers_dir, wheels, out = map(Path, sys.argv[1:5])
    written, others = conversations(), other_conversations()
    families = {name: transformers.AutoTokenizer.from_pretrained(tokenizers_dir / name) for name in ("llama3", "qwen3")}
    families["default"] = transformers.AutoTokenizer.from_pretrained(model_dir)
    entries = [(name, template_text(wheels, member), family, variables) for name, member, family, variables in SOURCES]
    entries.append(("smollm2", families["default"].chat_template, "default", {}))
    texts, templates = {}, []
    for name, template, family, variables in entries:
        renderer = Renderer(families[family], template, variables)
        sha256 = hashlib.sha256(template.encode()).hexdigest()
        templates.append({"name": name, "sha256": sha256, "tokenizer": family, "variables": variables,
                          "hashes": [renderer.hashes(messages) for messages in written + others],
                          "ids": [renderer.ids(messages) for messages in written]})
        if name not in texts:
            texts[name] = [renderer.texts(messages) for messages in written]
        print(f"{name:20} {sha256} {len(written)} + {len(others)} conversations")
    golden = {"transformers": transformers.__version__, "written": len(written), "conversations": written + others,
              "texts": texts, "templates": templates}
    text = json.dumps(golden, ensure_ascii=True, separators=(",", ":")).replace('{"name"', '\n{"name"')
    (out / "chat_templates.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
