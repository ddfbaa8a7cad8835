"""Finding out: a trial, a comparison, annealing, and a search for a schedule."""
import random

from torch import nn

from cosine_lr import anneal, compare, cosine, digits_dls, run_trial, search_schedule
from cosine_lr.lab import Annealed, Annealer, KnotSpace, NoisyQuadratic, Regime, ScheduleSearch
from cosine_lr.lab import best_peak, best_rates, holm, markdown_table, near_point, point_of


def trial(folder: str) -> str:
    answers = run_trial(8, folder, quiet=True, plan={'peaks': [Regime(hidden=4, epochs=1)]})
    rows = answers['peaks']
    text: str = markdown_table(['schedule', 'mean'], [[row['schedule'], row['mean']] for row in rows])
    return text


def paired(scores: dict[str, dict[int, float]]) -> float:
    found = compare(scores, 'cosine', 'constant', 'score', level=.99)
    low, high = found.interval
    said: str = found.sentence
    print(said, found.p < .05, holm([found.p, .2]).max())
    return high - low


def energy(x: float) -> float: return x*x
def step(x: float, rng: random.Random) -> float: return x + rng.gauss(0, 1)


def annealed() -> float:
    search = Annealer([1., 2.], step, temperature=lambda pos: 1 - pos, ladder=2.)
    while not search.done: search.tell(energy(x) for x in search.ask())
    best: Annealed = search.result()
    return best.energy + anneal(energy, 5., step, cosine(1, 0), steps=100, patience=50).energy


def searched(model: nn.Module) -> float:
    space = KnotSpace(knots=3, peak=(1e-3, 1.))
    sched = space.schedule(near_point(space, point_of(space, .5*cosine()), random.Random(0)))
    found: ScheduleSearch = search_schedule(lambda: model, digits_dls(), space=space, storage='search.db')
    gain, (low, _) = found.gain('annealing')
    return gain + low + float(found.schedule(.5)) + float(sched(.5))


def best_possible() -> float:
    quadratic = NoisyQuadratic(dims=10)
    rates = best_rates(quadratic)
    peak, loss = best_peak(quadratic, cosine())
    return peak*loss + float(rates.sum())
