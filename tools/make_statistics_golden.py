#!/usr/bin/env python3
"""Writes tests/golden/statistics.json: what SciPy and statsmodels say, for tests/unit/results/{statistics,inference}_test.cc.

Needs numpy, scipy and statsmodels. Usage: tools/make_statistics_golden.py [OUTPUT]
"""
import json
import pathlib
import sys
import warnings

import numpy
import scipy
import scipy.stats
import statsmodels
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

BOOTSTRAP_DRAWS = 100_000
FLIPS = 200_000


def wilson_cases():
    pairs = [(0, 1), (1, 1), (0, 2), (1, 2), (2, 2), (0, 8), (3, 8), (8, 8), (0, 32), (1, 32), (16, 32), (31, 32),
             (32, 32), (0, 200), (7, 200), (100, 200), (199, 200), (200, 200), (12345, 100000)]
    for confidence in (0.95, 0.8):
        for successes, n in pairs:
            low, high = proportion_confint(successes, n, alpha=1 - confidence, method="wilson")
            yield {"successes": successes, "n": n, "confidence": confidence, "low": low, "high": high}


def paired_samples(rng):
    yield "n=1", numpy.array([0.7]), numpy.array([0.2])
    yield "n=2", numpy.array([0.5, 1.5]), numpy.array([0.25, 0.5])
    yield "all equal", numpy.full(6, 1.25), numpy.full(6, 1.25)
    yield "same difference", numpy.arange(5.0) + 0.5, numpy.arange(5.0)
    yield "all wrong", numpy.full(8, 9.5) + rng.normal(0, 0.01, 8), numpy.full(8, 0.05)
    for n in (3, 8, 20, 32, 64, 200):
        base = rng.gamma(1.0, 1.0, n)
        yield f"gamma n={n}", base, base * 0.6 + rng.normal(0, 0.2, n)


def mean_cases(samples):
    for name, a, _ in samples:
        yield {"name": name, "values": a.tolist(), "mean": float(a.mean()),
               "standard_error": None if len(a) == 1 else float(scipy.stats.sem(a))}


def paired_cases(samples):
    for name, a, b in samples:
        case = {"name": name, "a": a.tolist(), "b": b.tolist(), "mean": float((a - b).mean()), "interval": None}
        if len(a) > 1:
            # Equal differences have standard error 0: SciPy gives nan there, the interval is the point.
            interval = scipy.stats.ttest_rel(a, b).confidence_interval(0.95)
            case["interval"] = ([case["mean"]] * 2 if numpy.ptp(a - b) == 0
                                else [float(interval.low), float(interval.high)])
        yield case


def mcnemar_cases():
    for b, c in [(0, 0), (1, 0), (0, 5), (5, 5), (3, 9), (10, 1), (20, 20), (2, 30), (0, 32), (40, 61)]:
        yield {"only_first": b, "only_second": c,
               "p": 1.0 if b + c == 0 else float(mcnemar([[0, b], [c, 0]], exact=True).pvalue)}


def quantile_cases(rng):
    for values in ([3.5], [2.0, 1.0], [1.0, 1.0, 1.0], [5.0, 1.0, 4.0, 2.0], rng.normal(size=20).tolist(),
                   rng.normal(size=31).tolist()):
        for q in (0.0, 0.05, 0.5, 0.95, 1.0):
            yield {"values": values, "q": q, "value": float(numpy.quantile(values, q))}


def bootstrap_cases(rng):
    """Other random numbers than ours, so the intervals agree up to Monte Carlo error only."""
    for n in (8, 32, 200):
        none = rng.gamma(4.0, 0.7, n)
        full = none * 0.05 + rng.gamma(1.0, 0.02, n)
        plan = full + rng.gamma(0.5, 0.6, n)
        gap = lambda x, y, z, axis=-1: (x.mean(axis) - y.mean(axis)) / (x.mean(axis) - z.mean(axis))
        difference = lambda x, y, axis=-1: x.mean(axis) - y.mean(axis)
        options = {"paired": True, "vectorized": True, "method": "percentile", "n_resamples": BOOTSTRAP_DRAWS,
                   "batch": 2000, "rng": numpy.random.default_rng(n)}
        of_gap = scipy.stats.bootstrap((none, plan, full), gap, **options)
        of_difference = scipy.stats.bootstrap((plan, full), difference, **options)
        yield {"none": none.tolist(), "plan": plan.tolist(), "full": full.tolist(),
               "gap": float(gap(none, plan, full)),
               "gap_interval": [float(v) for v in of_gap.confidence_interval],
               "gap_standard_error": float(of_gap.standard_error),
               "difference": float(difference(plan, full)),
               "difference_interval": [float(v) for v in of_difference.confidence_interval],
               "difference_standard_error": float(of_difference.standard_error)}


def spearman_cases(rng):
    for name, a, b in [("n=2", [1.0, 2.0], [5.0, 3.0]), ("ties", [1.0, 1.0, 2.0, 3.0], [2.0, 1.0, 1.0, 4.0]),
                       ("constant", [1.0, 1.0, 1.0], [1.0, 2.0, 3.0]), ("same", [3.0, 1.0, 2.0], [30.0, 10.0, 20.0])]:
        yield spearman_case(name, numpy.array(a), numpy.array(b))
    for n in (5, 30, 270):
        a = rng.normal(size=n)
        yield spearman_case(f"normal n={n}", a, 0.5 * a + rng.normal(size=n))
        yield spearman_case(f"many ties n={n}", numpy.round(a), numpy.round(a + rng.normal(size=n)))


def spearman_case(name, a, b):
    constant = numpy.ptp(a) == 0 or numpy.ptp(b) == 0
    return {"name": name, "a": a.tolist(), "b": b.tolist(),
            "rho": None if constant else float(scipy.stats.spearmanr(a, b).statistic)}


def sign_flip_cases(rng):
    """Cluster sums: SciPy's one-sample permutation test flips signs; other flips than ours."""
    for n, shift in ((20, 0.0), (20, 0.5), (32, 0.3), (64, 0.25), (200, 0.1)):
        values = rng.normal(shift, 1.0, n) * rng.gamma(2.0, 0.5, n)
        test = scipy.stats.permutation_test((values,), lambda x, axis=-1: x.sum(axis), permutation_type="samples",
                                            vectorized=True, n_resamples=FLIPS, batch=2000,
                                            rng=numpy.random.default_rng(n))
        yield {"values": values.tolist(), "p": float(test.pvalue)}


def exact_sign_flip_cases(rng):
    """Few values: every flip is counted, by SciPy as by us (n=1, all equal and all wrong among them)."""
    samples = [numpy.array([0.7]), numpy.array([0.5, -0.25]), numpy.full(6, 1.25), numpy.zeros(5),
               numpy.array([1.0, -1.0, 1.0, -1.0]), numpy.array([3.0, 1.0, 1.0, -1.0, 2.0])]
    samples += [rng.normal(shift, 1.0, n) for n, shift in ((3, 0.0), (5, 1.0), (8, 0.5), (12, 0.6), (15, 0.3))]
    for values in samples:
        flips = numpy.array(numpy.meshgrid(*[[1, -1]] * len(values))).reshape(len(values), -1)
        sums = numpy.abs(values @ flips)
        p = float((sums >= abs(values.sum()) - 1e-9).mean())
        if len(values) > 1:  # SciPy wants two
            test = scipy.stats.permutation_test((values,), lambda x, axis=-1: x.sum(axis), permutation_type="samples",
                                                vectorized=True, n_resamples=numpy.inf)
            assert abs(test.pvalue - p) < 1e-12 or numpy.ptp(values) == 0, (values, test.pvalue, p)
        yield {"values": values.tolist(), "p": p}


def max_t_cases(rng):
    """Westfall and Young's single-step max-t over all pairs, every flip of the clusters counted."""
    for series, clusters, shift in ((2, 10, 0.8), (3, 12, 0.5), (4, 13, 0.7)):
        sums = rng.normal(0, 1, (series, clusters)) + shift * numpy.arange(series)[:, None]
        flips = numpy.array(numpy.meshgrid(*[[1, -1]] * clusters)).reshape(clusters, -1)
        pairs = [(a, b) for a in range(series) for b in range(a + 1, series)]
        t = lambda a, b, signs: numpy.abs((sums[a] - sums[b]) @ signs) / numpy.linalg.norm(sums[a] - sums[b])
        largest = numpy.max([t(a, b, flips) for a, b in pairs], axis=0)
        p = [[a, b, float((largest >= t(a, b, numpy.ones(clusters)) - 1e-9).mean())] for a, b in pairs]
        yield {"sums": sums.tolist(), "p": p}


def paired_t_cases(samples):
    for name, a, b in samples:
        if len(a) > 1 and numpy.ptp(a - b) > 0:
            yield {"name": name, "a": a.tolist(), "b": b.tolist(), "p": float(scipy.stats.ttest_rel(a, b).pvalue)}


def benjamini_hochberg_cases(rng):
    for p in ([0.01], [0.04, 0.01, 0.03], [0.2, 0.2, 0.2], [1.0, 0.0, 0.5], [0.9, 0.01, 0.02, 0.011],
              rng.uniform(0, 0.1, 12).tolist()):
        yield {"p": p, "adjusted": multipletests(p, method="fdr_bh")[1].tolist()}


def detectable_cases():
    """statsmodels' normal power of a paired test: the difference, in units of sd, that n values find."""
    for sd in (0.05, 0.3, 1.0):
        for n in (8, 32, 64, 500):
            for power in (0.8, 0.9):
                # (the two-sided power counts the wrong tail too, some 1e-6 of it)
                effect = NormalIndPower().solve_power(nobs1=n, ratio=0, alpha=0.05, power=power, alternative="two-sided")
                yield {"sd": sd, "n": n, "power": power, "difference": float(effect * sd)}


def cluster_mean_cases(rng):
    """0/1 answers in clusters: SciPy's bootstrap of the clusters' (sum, size)."""
    for clusters, size in ((10, 4), (28, 2), (40, 5)):
        level = rng.uniform(0.2, 0.9, clusters)
        sizes = rng.integers(1, size + 1, clusters)
        values = [rng.binomial(1, p, n) for p, n in zip(level, sizes)]
        ratio = lambda s, n, axis=-1: s.sum(axis) / n.sum(axis)
        sums = numpy.array([v.sum() for v in values], float)
        test = scipy.stats.bootstrap((sums, sizes.astype(float)), ratio, paired=True, vectorized=True, method="percentile",
                                     n_resamples=BOOTSTRAP_DRAWS, batch=2000, rng=numpy.random.default_rng(clusters))
        yield {"values": [float(x) for v in values for x in v],
               "clusters": [k for k, v in enumerate(values) for _ in v],
               "mean": float(sums.sum() / sizes.sum()), "interval": [float(x) for x in test.confidence_interval],
               "standard_error": float(test.standard_error)}


def holm_cases(rng):
    for p in ([0.01], [0.04, 0.01, 0.03], [0.2, 0.2, 0.2], [1.0, 0.0, 0.5], rng.uniform(0, 0.1, 12).tolist()):
        yield {"p": p, "adjusted": multipletests(p, method="holm")[1].tolist()}


def equivalence_cases(rng):
    for n, mean, sd, margin in ((2, 0.0, 0.01, 0.02), (5, 0.005, 0.01, 0.02), (8, 0.05, 0.01, 0.02),
                                (32, -0.01, 0.05, 0.02), (200, 0.012, 0.05, 0.02), (300, -0.02, 0.31, 0.03)):
        values = rng.normal(mean, sd, n)
        p, _, _ = DescrStatsW(values).ttost_mean(-margin, margin)
        error = scipy.stats.sem(values)
        yield {"values": values.tolist(), "margin": margin, "p": float(p),
               "interval": list(map(float, scipy.stats.t.interval(0.9, n - 1, values.mean(), error))),
               "two_sided": list(map(float, scipy.stats.t.interval(0.95, n - 1, values.mean(), error)))}


def equivalence_power_cases():
    """The share of equivalence tests that say so at n values and no true difference, by numerical integration."""
    for sd, margin in ((0.1 ** 0.5, 0.03), (0.05, 0.02), (0.3, 0.02)):
        for n in (50, 400, 952, 1800):
            critical = scipy.stats.t.ppf(0.95, n - 1)
            # |mean| < margin - critical * s / sqrt(n), averaged over the distribution of s
            power = scipy.stats.chi2(n - 1).expect(
                lambda q: max(0.0, 2 * scipy.stats.norm.cdf(
                    margin * n ** 0.5 / sd - critical * (q / (n - 1)) ** 0.5) - 1), lb=1e-9)
            yield {"sd": sd, "margin": margin, "n": n, "power": float(power)}


def non_inferiority_cases(rng):
    for n, mean, sd in ((5, 0.0, 0.005), (5, 0.015, 0.01), (10, 0.03, 0.01), (20, 0.018, 0.004)):
        values = rng.normal(mean, sd, n)
        test = scipy.stats.ttest_1samp(values, 0.02, alternative="less")
        yield {"values": values.tolist(), "margin": 0.02, "p": float(test.pvalue),
               "upper": float(test.confidence_interval(0.95).high)}


def main():
    warnings.simplefilter("ignore")  # the nan cases that paired_cases handles
    root = pathlib.Path(__file__).resolve().parent.parent
    output = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else root / "tests/golden/statistics.json"
    rng = numpy.random.default_rng(20250131)
    samples = list(paired_samples(rng))
    golden = {"made_by": {"numpy": numpy.__version__, "scipy": scipy.__version__,
                          "statsmodels": statsmodels.__version__},
              "wilson": list(wilson_cases()), "mean": list(mean_cases(samples)),
              "paired": list(paired_cases(samples)), "mcnemar": list(mcnemar_cases()),
              "quantile": list(quantile_cases(rng)), "bootstrap": list(bootstrap_cases(rng)),
              "spearman": list(spearman_cases(rng)), "sign_flip": list(sign_flip_cases(rng)),
              "holm": list(holm_cases(rng)), "equivalence": list(equivalence_cases(rng)),
              "equivalence_power": list(equivalence_power_cases()),
              "non_inferiority": list(non_inferiority_cases(rng)),
              "exact_sign_flip": list(exact_sign_flip_cases(rng)), "max_t": list(max_t_cases(rng)),
              "paired_t": list(paired_t_cases(samples)),
              "benjamini_hochberg": list(benjamini_hochberg_cases(rng)),
              "detectable": list(detectable_cases()), "cluster_mean": list(cluster_mean_cases(rng))}
    lines = [f'"{key}": ' + (json.dumps(value) if isinstance(value, dict) else
                             "[\n " + ",\n ".join(json.dumps(case) for case in value) + "]")
             for key, value in golden.items()]
    output.write_text("{" + ",\n".join(lines) + "}\n")
    print({key: len(value) for key, value in golden.items() if key != "made_by"}, "cases in", output)


if __name__ == "__main__":
    main()
