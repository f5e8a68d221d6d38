#!/usr/bin/env python3
"""Makes tests/golden/longmemeval_small.json, a data file of our own in LongMemEval's format, and longmemeval_hashes.json,
the SHA-256 of its prompts by the published rules (src/generation/run_generation.py of xiaowu0162/LongMemEval, MIT),
written here anew in Python: json.dumps() and str.strip() are those of Python itself.

    tools/make_longmemeval_golden.py            writes both files
    tools/make_longmemeval_golden.py DATA.json  prints the hashes of another data file (.json or .json.gz)
"""

import datetime
import gzip
import hashlib
import json
import random
import sys
from pathlib import Path

GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "golden"
STEPS = (" Answer the question step by step: first extract all the relevant information, and then reason over the "
         "information to get the answer.")


def prompt(item, style, step_by_step):
    sessions = sorted(zip(item["haystack_dates"], item["haystack_sessions"]), key=lambda pair: pair[0])
    history = ""
    for number, (date, turns) in enumerate(sessions, 1):
        if style == "json":
            bare = [{key: value for key, value in turn.items() if key != "has_answer"} for turn in turns]
            content = "\n" + json.dumps(bare)
        else:
            content = "".join(f"\n\n{turn['role']}: {turn['content'].strip()}" for turn in turns)
        history += f"\n### Session {number}:\nSession Date: {date}\nSession Content:\n{content}\n"
    return ("I will give you several history chats between you and a user. Please answer the question based on the "
            f"relevant chat history.{STEPS if step_by_step else ''}\n\n\nHistory Chats:\n\n{history}\n\n"
            f"Current Date: {item['question_date']}\nQuestion: {item['question']}\n"
            f"Answer{' (step by step)' if step_by_step else ''}:")


def hashes(items):
    return {f"{style}/{'con' if steps else 'direct'}":
            hashlib.sha256("".join(prompt(item, style, steps) for item in items).encode()).hexdigest()
            for style in ("json", "nl") for steps in (False, True)}


# What writers of JSON and strippers of white space differ in.
ODD = ["\u00a0\u3000Caf\u00e9 na\u00efve \u2028", "\ttabs\x1f\x1c", "\"quoted\" \\ and / slashes \x7f", "\U0001f331 plants \U0001f9ea",
       "\u05d0\u05d1\u05d2 \u4f60\u597d", "line one\r\nline two\n\n", " \x0b\x0c ", "\u200bkept\ufeff", "\x85next line\x85", "<|im_end|>"]
THINGS = ["tomato plants", "vinyl records", "bicycles", "cookbooks", "camera lenses", "chess sets", "board games",
          "houseplants", "teapots", "puzzles", "kites", "ukuleles"]
TOPICS = ["knitting a scarf", "fixing a squeaky door", "packing for the mountains", "a soup without onions",
          "learning Portuguese", "watering orchids", "a letter to a landlord", "sharpening knives",
          "naming a kitten", "reading the stars", "sleeping on trains", "a speech for a wedding"]


def day(rng, low, high):
    moment = datetime.datetime(2023, 1, 1) + datetime.timedelta(minutes=rng.randrange(low * 1440, high * 1440))
    return moment.strftime("%Y/%m/%d (%a) %H:%M")


def turns(pairs, label=None):
    session = []
    for number, (role, content) in enumerate(pairs):
        turn = {"role": role, "content": content}
        if label is not None:
            turn["has_answer"] = number == label
        session.append(turn)
    return session


def filler(number):
    rng = random.Random(f"filler {number}")
    topic = TOPICS[number % len(TOPICS)]
    pairs = [("user", f"Can you help me with {topic}? This is note {number}. {ODD[number % len(ODD)]}"),
             ("assistant", f"Of course. With {topic} it is best to start early, on day {rng.randrange(2, 90)}."),
             ("user", ODD[(number + 3) % len(ODD)] + f" And then, after step {rng.randrange(100, 999)}?")]
    if number % 3:
        pairs.append(("assistant", f"Then rest for {rng.randrange(2, 50)} minutes.\n" * (1 + number % 4)))
    return turns(pairs if number % 7 else pairs[1:])


def evidence(number, count, part):
    thing = THINGS[number % len(THINGS)]
    return turns([("user", f"Hello there, number {number}/{part}."), ("assistant", "Hello! How can I help?"),
                  ("user", f"By the way, I have just bought {count} {thing}, lot {number * 17 + part}. {ODD[number % len(ODD)]}"),
                  ("assistant", f"How lovely, {thing} are a joy.")], 2)


def make_items():
    rng = random.Random("longmemeval small")
    kinds = ["single-session-user", "single-session-assistant", "single-session-preference", "multi-session",
             "temporal-reasoning", "knowledge-update"]
    items = []
    for number in range(36):
        kind = kinds[number % len(kinds)]
        thing = THINGS[number % len(THINGS)]
        counts = [rng.randrange(2, 9) for _ in range(2 if kind in ("multi-session", "knowledge-update") else 1)]
        answer = {"multi-session": sum(counts), "single-session-preference": f"The user would prefer ideas about {thing}.",
                  "temporal-reasoning": f"{counts[0]} days. {counts[0] + 1} days (including the last day) is also acceptable.",
                  "single-session-user": f"{counts[0]} {thing}", "single-session-assistant": f"That {thing} are a joy",
                  "knowledge-update": str(counts[-1])}[kind]
        history = [(f"answer_{number:04x}_{part}", day(rng, 10 + 20 * part, 30 + 20 * part), evidence(number, count, part))
                   for part, count in enumerate(counts)]
        history += [(f"filler_{n}", day(rng, 0, 140), filler(n)) for n in rng.sample(range(60), rng.randrange(2, 6))]
        rng.shuffle(history)
        item = {"question_id": f"small_{number:02}", "question_type": kind,
                "question": f"How many {thing} did I buy \u2013 of lot {number * 17}?", "answer": answer,
                "question_date": day(rng, 150, 180), "haystack_dates": [date for _, date, _ in history],
                "haystack_session_ids": [name for name, _, _ in history],
                "haystack_sessions": [session for _, _, session in history],
                "answer_session_ids": [f"answer_{number:04x}_{part}" for part in range(len(counts))]}
        items.append(item)
        if number % 6 != 2 and number % 5 == 0:  # asks for what the same sessions do not tell
            twin = dict(item, question_id=item["question_id"] + "_abs", question=f"How many ponies did I buy before lot {number * 17}?",
                        answer="The information provided is not enough. You did not mention ponies.")
            items.append(twin)
    return items


def main():
    if len(sys.argv) > 1:
        opened = gzip.open(sys.argv[1]) if sys.argv[1].endswith(".gz") else open(sys.argv[1], "rb")
        with opened as file:
            print(json.dumps(hashes(json.load(file)), indent=2))
        return
    items = make_items()
    (GOLDEN / "longmemeval_small.json").write_text(json.dumps(items, indent=1) + "\n")
    (GOLDEN / "longmemeval_hashes.json").write_text(json.dumps(hashes(items), indent=2) + "\n")


if __name__ == "__main__":
    main()
