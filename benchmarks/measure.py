"""Contestants take turns, so that a busy machine slows all alike; what counts is the ratio to the base."""
import gc
import importlib
import random
import time

import numpy as np
from tqdm.auto import tqdm


PROCESSOR = time.process_time # for contestants of one thread: it leaves out the time that neighbours take
WALL = time.perf_counter


def clocked(work, clock=WALL): # (round) -> facts, a dictionary or None
    "A contestant that is timed from beginning to end"
    def turn(k):
        start = clock()
        facts = work(k)
        return clock() - start, facts or {}
    return turn


def measure(
    contestants, # {name: (round) -> (seconds, facts)}; facts: {name: number}, what the turn's work came to
    rounds, # how often each has a turn, after one that does not count
    title='', # stands before the progress bar
    base=None, # the contestant to compare with: it has a turn after each turn, so that the two are neighbours
): # {name: {'base', 'times', 'beside', 'facts'}}: seconds of each round, and of the base after it; mean facts
    "Every contestant once a round, in an order drawn anew"
    turns, order = {name: [] for name in contestants}, list(contestants)
    with tqdm(total=(rounds + 1)*len(order), desc=title, unit='turn', mininterval=1) as bar:
        for k in range(-1, rounds):
            random.Random(k).shuffle(order)
            for name in order:
                bar.set_postfix_str(name, refresh=False)
                seconds, facts = contestants[name](max(k, 0))
                beside, _ = contestants[base](max(k, 0)) if base else (1., {})
                if k >= 0: turns[name].append((seconds, beside, facts))
                bar.update()
            if k < 0:
                gc.collect()
                gc.freeze() # what has been imported need not be looked through again and again
    return {name: _record(base, *zip(*done)) for name, done in turns.items()}


def _record(base, seconds, beside, facts):
    return dict(base=base, times=_short(seconds), beside=_short(beside), facts=_means(facts))


def _short(seconds): return [float(f'{s:.6g}') for s in seconds]
def _means(facts): return {name: float(np.mean([f[name] for f in facts])) for name in facts[0]}


def run_part(part, rounds): # in a process of its own
    return importlib.import_module(f'{__package__}.{part}').run(rounds)


def quartiles(values): return [float(q) for q in np.quantile(values, [.25, .5, .75])]


def ratio(rows, name, to=None): # `rows`: what `measure` gave; `to`: another contestant; the base, if None
    "Quartiles of the ratio of two contestants' times, each relative to its neighbour's: [low, median, high]"
    relative = lambda row: np.array(row['times']) / np.array(row['beside'])
    return quartiles(relative(rows[name]) / (1 if to in (None, rows[name]['base']) else relative(rows[to])))


def check_equal_work(rows, within=.015):
    "Refuse a comparison of unequal work: other numbers of steps, or accuracies further apart than `within`"
    facts = {name: row['facts'] for name, row in rows.items()}
    for fact, apart in (('steps', 0), ('accuracy', within)):
        values = {name: f[fact] for name, f in facts.items() if fact in f}
        if values and max(values.values()) - min(values.values()) > apart:
            raise ValueError(f"contestants must do the same work, got {fact}: {values}")
    return rows


def exponent(x, y): # of a power law through the points
    "Slope of log y against log x, and its standard error"
    (slope, _), cov = np.polyfit(np.log(x), np.log(y), 1, cov=True)
    return float(slope), float(cov[0, 0]**.5)
