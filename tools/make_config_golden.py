#!/usr/bin/env python3
"""Writes tests/golden/config_cases.json: what Hydra and OmegaConf make of a small tree of YAML files.

Needs hydra-core 1.3 and omegaconf 2.3 (pip install hydra-core). Run from the repository root:
    python tools/make_config_golden.py
"""
import json
import os
import pathlib
import tempfile
import warnings

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

FILES = {
    "config.yaml": """\
defaults:
  - model: tiny
  - strategy: periodic
  - mixer: window
  - optional launcher: none
  - optional extra: null
  - experiment: null
  - _self_

seed: 7
device: cpu
rate: 1e-3
budget:
  fraction: 0.25
  units: null
  mode: exact
needed: ???
tags: [a, b]
nested: {one: {two: {three: 3}}}
note: "layers of ${model.name}"
window_again: ${mixer.window}
half: ${budget.fraction}
whole_budget: ${budget}
""",
    "model/tiny.yaml": "name: tiny\nlayers: 4\npath: ???\n",
    "model/large.yaml": "name: large\nlayers: 32\npath: /models/${.name}\nhead:\n  size: 64\n  total: ${..layers}\n",
    "model/derived.yaml": "defaults:\n  - large\n  - _self_\n\nname: derived\nlayers: 48\n",
    "model/derived_first.yaml": "defaults:\n  - _self_\n  - large\n\nname: derived_first\nextra_key: 1\n",
    "strategy/periodic.yaml": "name: periodic\nby: budget\noffset: 0\n",
    "strategy/random.yaml": "name: random\ndraws: 4\nseed: ${seed}\n",
    "strategy/nll.yaml": """\
defaults:
  - scorer: restore
  - searcher@inner.search: topk
  - _self_

name: nll
scale: 2
""",
    "strategy/bad_layout.yaml": "defaults:\n  - override /mixer: full\n  - scorer: restore\nname: bad\n",
    "strategy/scorer/restore.yaml": "mode: restore\nreuse: true\n",
    "strategy/scorer/ablate.yaml": "mode: ablate\nreuse: false\n",
    "strategy/searcher/topk.yaml": "kind: topk\n",
    "strategy/searcher/greedy.yaml": "kind: greedy\nwidth: 1\n",
    "mixer/window.yaml": "kind: window\nwindow: 128\nsinks: 4\n",
    "mixer/full.yaml": "kind: full\nwindow: 0\n",
    "mixer/named.yaml": "# @package blocks.mixing\nkind: named\n",
    "mixer/global.yaml": "# @package _global_\nmixer:\n  kind: global\n  window: 9\ndevice: cuda\n",
    "db/one.yaml": "host: one\nport: 1\n",
    "db/two.yaml": "host: two\nport: 2\n",
    "experiment/wide.yaml": """\
# @package _global_
defaults:
  - override /model: large
  - override /strategy: random

seed: 99
mixer:
  window: 512
budget:
  mode: at_most
tags: [wide]
""",
    "experiment/self_last.yaml": """\
# @package _global_
defaults:
  - override /mixer: full
  - _self_

mixer:
  window: 33
""",
    "experiment/two_dbs.yaml": """\
# @package _global_
defaults:
  - /db@source: one
  - /db@target: two
""",
    "experiment/relative.yaml": "defaults:\n  - /db: one\nplain: true\n",
    "experiment/unknown.yaml": "# @package _global_\ndefaults:\n  - override /nothing: here\n",
    "experiment/clash.yaml": "# @package _global_\ndefaults:\n  - /model: large\n",
    "experiment/lists.yaml": "# @package _global_\ndefaults:\n  - /db: [one, two]\n",
    "experiment/group_package.yaml": "# @package _global_\ndefaults:\n  - /db@here._group_: two\n",
    "experiment/missing.yaml": "# @package _global_\ndefaults:\n  - /db: ???\n",
    "experiment/absent.yaml": "# @package _global_\ndefaults:\n  - /db: nowhere\n",
    "experiment/absent_optional.yaml": "# @package _global_\ndefaults:\n  - optional /db: nowhere\nseed: 3\n",
    "experiment/keeps.yaml": "# @package _global_\nseed: ???\ndevice: null\nbudget: 3\nnested: text\n",
    "experiment/dict_on_list.yaml": "# @package _global_\ntags: {a: 1}\n",
    "experiment/list_on_dict.yaml": "# @package _global_\nbudget: [1]\n",
    "experiment/deep.yaml": "# @package _global_\nnested:\n  one:\n    two:\n      four: 4\n    five: [1, {a: b}]\n",
    "experiment/anchors.yaml": "# @package _global_\nbase: &b {x: 1, y: 2}\nuse: *b\nmerged: {<<: *b, y: 3}\n",
    "experiment/twice.yaml": "# @package _global_\nseed: 1\nseed: 2\n",
    "experiment/broken.yaml": "# @package _global_\nseed: [1, 2\n",
    "experiment/listed.yaml": "- 1\n- 2\n",
    "experiment/bad_defaults.yaml": "defaults: {a: b}\n",
    "experiment/two_keys.yaml": "defaults:\n  - {model: large, mixer: full}\n",
    "experiment/selves.yaml": "defaults:\n  - _self_\n  - _self_\n",
    "experiment/envs.yaml": """\
# @package _global_
user: ${oc.env:GOLDEN_USER}
home: ${oc.env:GOLDEN_HOME,/nowhere}
number: ${oc.env:GOLDEN_NUMBER,4}
empty: ${oc.env:GOLDEN_EMPTY,''}
nothing: ${oc.env:GOLDEN_NOTHING,null}
decoded: ${oc.decode:${oc.env:GOLDEN_NUMBER,4}}
picked: ${oc.select:seed,1}
not_picked: ${oc.select:absent.key,fallback}
joined: "${oc.env:GOLDEN_USER}/${seed}/${rate}/${budget.units}/${strategy.name}"
nested_key: ${${which}.window}
which: mixer
escaped: \\${seed}
first_tag: ${tags[0]}
second_tag: ${tags.1}
""",
    "experiment/circle.yaml": "# @package _global_\nseed: ${device}\ndevice: ${seed}\n",
    "experiment/dangling.yaml": "# @package _global_\nseed: ${budgets.fraction}\n",
    "experiment/to_missing.yaml": "# @package _global_\nseed: ${needed}\n",
    "experiment/no_env.yaml": "# @package _global_\nseed: ${oc.env:GOLDEN_NOTHING}\n",
}

ENVIRONMENT = {"GOLDEN_USER": "ada", "GOLDEN_NUMBER": "12"}

# One configuration each: overrides, accepted or not as Hydra says.
SINGLE = [
    [],
    # values
    ["seed=8"], ["seed=eight"], ["seed=null"], ["seed=true"], ["seed=True"], ["seed=yes"], ["seed=1.5"], ["seed=1e3"],
    ["seed=-3"], ["seed=+3"], ["seed=1_000"], ["seed=007"], ["seed=.5"], ["seed=5."], ["seed=inf"], ["seed=1.2.3"],
    ["seed="], ["seed= 8 "], ["seed=a b c"], ["seed='8'"], ["seed=\"a,b\""], ["seed='it\\'s'"], ["seed='a\\\\'"],
    ["seed='a\\b'"], ["seed=a\\,b"], ["seed=a\\ \\ "], ["seed=[1,2,3]"], ["seed=[1, 'a b', [x, y]]"], ["seed=[]"],
    ["seed={a:1,b:{c:d}}"], ["seed={}"], ["seed={a: b:c}"], ["seed=a:b"], ["seed=/a/b-c.d"], ["seed=http://x.y/z"],
    ["seed=a@b"], ["seed=50%"], ["seed=a-1"], ["seed=1-2"], ["seed=-x"], ["seed=x*"], ["seed=???"],
    ["seed=${device}"], ["seed=a_${device}_b"], ["seed='${device} ${rate}'"], ["seed=${oc.env:GOLDEN_USER}"],
    ["seed=int(3.7)"], ["seed=int('5')"], ["seed=float(3)"], ["seed=str(3)"], ["seed=bool(0)"], ["seed=str([1,2])"],
    ["seed=bool('true')"], ["seed=int(abc)"], ["seed=sort([3,1,2])"], ["seed=sort([3,1,2],reverse=true)"],
    # keys
    ["budget.fraction=0.5"], ["budget.fractoin=0.5"], ["budget.units=3", "budget.fraction=1"], ["unknown=1"],
    ["+unknown=1"], ["+budget.extra=1"], ["+seed=1"], ["++seed=1"], ["++a.b.c=1"], ["+a.b=1", "a.b=2"], ["+a.b=1", "+a.b=2"],
    ["+budget.units=2"], ["+needed=2"], ["seed.x=1"], ["+seed.x=1"], ["budget.units.x=1"], ["+budget={extra:1}"],
    ["budget={units:5}"], ["budget={extra:5}"], ["budget=3"], ["tags=[c]"], ["+tags=[c]"], ["tags.0=z"], ["tags.2=z"],
    ["tags={x:1}"], ["nested.one.two.three=33"], ["nested.one.two={three:33}"], ["nested.one={two:{x:1}}"],
    ["~seed"], ["~seed=7"], ["~seed=8"], ["~budget.mode"], ["~nothing"], ["~budget"], ["~nested.one.two"], ["~half"],
    ["seed=1", "seed=2"], ["needed=3"], ["needed=3", "model.path=x"], ["device=${seed}", "seed=5"],
    # groups
    ["model=large"], ["model=derived"], ["model=derived_first"], ["model=nothing"], ["model=larg"], ["model.name=x"],
    ["model=large", "model.name=x"], ["strategy=random"], ["strategy=random", "seed=3"], ["strategy=nll"],
    ["strategy=nll", "strategy/scorer=ablate"], ["strategy=nll", "strategy/searcher@strategy.inner.search=greedy"],
    ["strategy=nll", "strategy/searcher=greedy"], ["strategy/scorer=ablate"], ["strategy=bad_layout"], ["mixer=full"],
    ["mixer=named", "window_again=0"], ["mixer=global"], ["mixer={window:5}"], ["mixer=null"], ["mixer=3"], ["~mixer", "window_again=0"],
    ["~mixer=window", "window_again=0"], ["~mixer=full"], ["~db"], ["db=one"], ["+db=one"], ["+db=one", "db.port=9"],
    ["+db=[one,two]"], ["+db=[1]"], ["+db=[]"], ["mixer=[window,1]"], ["mixer=[]", "window_again=0"], ["+db@source=one", "+db@target=two"], ["+db@_global_=one"], ["+db@a.b=two"], ["++db=one"],
    ["+model=large"], ["model@other=large"], ["+model@other=large"], ["seed@x=3"], ["launcher=none"], ["extra=1"],
    # experiments
    ["experiment=wide"], ["experiment=wide", "model=tiny"], ["experiment=wide", "mixer=full"], ["experiment=wide", "seed=1"],
    ["experiment=wide", "~strategy"], ["experiment=self_last"], ["experiment=two_dbs"], ["experiment=two_dbs", "db@source=two"],
    ["experiment=two_dbs", "db=one"], ["experiment=relative"], ["experiment=unknown"], ["experiment=clash"],
    ["experiment=lists"], ["experiment=lists", "db=one"], ["experiment=lists", "db=[two,one]"], ["experiment=group_package"],
    ["experiment=missing"], ["experiment=missing", "db=two"], ["experiment=absent"], ["experiment=absent_optional"],
    ["experiment=keeps", "half=0", "whole_budget=0"], ["experiment=dict_on_list"],
    ["experiment=list_on_dict"], ["budget=[1]"], ["+tags={x:1}"], ["++tags={x:1}"], ["budget=null", "half=0"], ["experiment=deep"], ["experiment=anchors"], ["experiment=twice"],
    ["experiment=broken"], ["experiment=listed"], ["experiment=bad_defaults"], ["experiment=two_keys"],
    ["experiment=selves"], ["experiment=envs"], ["experiment=circle"], ["experiment=dangling"], ["experiment=to_missing"],
    ["experiment=no_env"], ["experiment=[wide,deep]"], ["experiment=[deep,self_last]"],
    # grammar
    ["seed"], ["=3"], ["seed=[1,2"], ["seed={a:1"], ["seed={a}"], ["seed=[1,,2]"], ["seed=a=b"], ["seed='abc"], ["seed=a'b'"],
    ["seed=é"], ["seed='é'"], ["seed=~x"], ["seed=a;b"], ["seed=unknown_function(1)"], ["seed=(1)"], ["+++seed=1"], ["a..b=1"],
    ["+1a=1"], ["+a-b=1"], ["+$x=1"], ["+a/b=1"], ["+a.0=1"], ["seed=1,2"], ["seed=choice(1,2)"], ["seed=range(1,3)"], ["seed=a#b"],
]

# Sweeps: the jobs in order.
MULTIRUN = [
    ["seed=1,2,3"], ["seed=1,2", "device=cpu,cuda"], ["device=cpu,cuda", "seed=1,2"], ["seed=range(1,5)"],
    ["seed=range(5)"], ["seed=range(0,1,0.25)"], ["seed=range(5,1,-2)"], ["seed=range(start=2,stop=9,step=3)"],
    ["rate=range(0,0.5,0.1)"], ["seed=choice(a,b)"], ["seed=choice([1,2],[3])"], ["seed=choice({a:1},{b:2})"],
    ["seed='a,b',c"], ["seed=\"x y\",'1',2,2.0,null,true"], ["seed=a\\,b,c"], ["seed=[a,b],[c]"], ["strategy=random,periodic"],
    ["strategy=glob(*)", "~mixer", "window_again=0", "strategy/scorer=ablate"], ["mixer=glob([w*,f*])"],
    ["mixer=glob(*,exclude=[n*,g*])"], ["+db=one,two"], ["experiment=wide,deep", "seed=1,2"], ["seed=1,2", "seed=3,4"],
    ["seed=1,2", "device=x", "seed=5"], ["seed=sort(3,1,2)"], ["seed=sort(choice(b,a,c),reverse=true)"], ["seed=int(choice(1.5,2))"],
    ["seed=str(choice(1,true))"], ["seed=${rate},2"], ["budget.fraction=0.125,0.25,0.5", "strategy=periodic", "seed=9"],
    ["seed=1,,2"], ["seed=[1,choice(2,3)]"], ["seed=choice()"], ["seed=choice(choice(1,2))"],
    ["model=tiny,nothing"], ["+budget.extra=1,2"], ["++seed=1,2"], ["seed=7"], ["seed='it\\'s',\"a\\\\\""], ["seed= a , b "],
]

SCALARS = """\
1 -1 +1 0 00 010 08 0o10 0x1F 0b101 1_000 _1 1__0 1.0 1. .5 -.5 .5e3 .5e-3 1e5 1e+5 1E-5 1.e5 1.5e5 -1.5e-5 1_0.5 1:30 1:30.5
-1:30:00 1:99 0:30 12:5 .inf -.inf +.Inf .nan .NaN inf nan yes no on off Yes NO On OFF y n true True TRUE tRue false null
Null NULL ~ none None 2024-01-02 2024-01-02T10:00:00 1,000 0.1.2 1e 1e5x - -- + . .. a:b a/b ??? ${a} $a a@b =x x= 0x 0b2
1-2 00.5 09.5 9223372036854775807 -9223372036854775808 e5 1f 0_7 1_ 1_.5 ... --- !x .e5 1.e""".split()


def shown(value):
    """JSON has no infinities; the reader under test writes them as strings too."""
    if isinstance(value, float) and value != value:
        return ".nan"
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return ".inf" if value > 0 else "-.inf"
    if isinstance(value, dict):
        return {key: shown(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shown(inner) for inner in value]
    return value


def composed(overrides):
    config = compose(config_name="config", overrides=overrides)
    return shown(OmegaConf.to_container(config, resolve=True))


def attempt(function):
    try:
        return function(), None
    except Exception as error:  # any refusal counts; its text is kept for the reader of the golden file
        return None, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def jobs(overrides):
    loader = GlobalHydra.instance().config_loader()
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(overrides)
    batch = BasicSweeper.split_arguments(parsed, None)[0]
    return [composed(job) for job in batch]


def main():
    warnings.simplefilter("ignore")
    os.environ.update(ENVIRONMENT)
    cases = []
    with tempfile.TemporaryDirectory() as folder:
        for name, text in FILES.items():
            path = pathlib.Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        with initialize_config_dir(folder, version_base="1.3"):
            for overrides in SINGLE:
                result, error = attempt(lambda: [composed(overrides)])
                cases.append({"overrides": overrides, "multirun": False, "jobs": result, "error": error})
            for overrides in MULTIRUN:
                result, error = attempt(lambda: jobs(overrides))
                cases.append({"overrides": overrides, "multirun": True, "jobs": result, "error": error})
    for case in cases:
        if case["error"]:
            case["error"] = case["error"].replace(folder, "")
    scalars = []
    for text in SCALARS:
        result, error = attempt(lambda: OmegaConf.to_container(OmegaConf.create(f"v: {text}\n"))["v"])
        if error is None:
            scalars.append({"text": text, "type": type(result).__name__, "value": shown(result)})
        else:
            scalars.append({"text": text, "type": "error", "value": error})
    golden = {"files": FILES, "environment": ENVIRONMENT, "cases": cases, "scalars": scalars}
    target = pathlib.Path("tests/golden/config_cases.json")
    rows = lambda items: ",\n".join("  " + json.dumps(item, ensure_ascii=False) for item in items)
    target.write_text(
        "{\n\"files\": " + json.dumps(FILES, indent=1) + ",\n\"environment\": " + json.dumps(ENVIRONMENT)
        + ",\n\"cases\": [\n" + rows(cases) + "\n],\n\"scalars\": [\n" + rows(scalars) + "\n]\n}\n")
    refused = sum(case["jobs"] is None for case in cases)
    print(f"{target}: {len(cases)} cases, {refused} of them refused, {len(scalars)} scalars")


if __name__ == "__main__":
    main()
