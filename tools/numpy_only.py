"""What works where there is no torch: schedules, and all that looks at them. Run it in an environment with
NumPy and the wheel, installed with `--no-deps`; what needs matplotlib or SciPy is tried where they are.
"""
import sys
from importlib import import_module
from importlib.util import find_spec

import numpy as np

assert find_spec('torch') is None, 'this environment has torch'

ALONE = ['check', 'schedule', 'recipes', 'shapes', 'clock', 'plan', 'rules', 'view.plot', 'view.sweep',
         'view.lint', 'view.stored', 'view.translate', 'view.average', 'view.elsewhere', 'view.explorer',
         'lab.annealing', 'lab.tables']
for name in ALONE: import_module(f'cosine_lr.{name}')

from cosine_lr import Plan, Schedule, anneal, cosine, join, linear, position, restarts, wsd  # noqa: E402
from cosine_lr.shapes import rex  # noqa: E402
from cosine_lr.view import per_step  # noqa: E402

sched = .1*join([linear(0, 1), rex(), cosine()], at=[.1, .3])
assert sched(.1) == .1 and sched(np.array([.1, 1.])).tolist() == [.1, 0]
assert Schedule.from_json(sched.to_json()) == sched == eval(repr(sched))
assert sched.lint(100) and 'LambdaLR' in sched.to('torch', 10) and 'optax' in (.1*wsd()).to('optax', 100)
assert abs(wsd(.1, .8).mean() - .85) < 1e-12 and per_step(sched, 10)(np.array([1, 10])).tolist() == [.1, 0]
assert restarts(3, shape=wsd())(position(0, 10)) == 0 and Plan
found = anneal(lambda x: (x - 3)**2, 0., lambda x, rng: x + rng.gauss(0, .3), quiet=True)
assert abs(found.state - 3) < .5

if find_spec('matplotlib'): assert sched._repr_png_().startswith(b'\x89PNG')
if find_spec('scipy'):
    from cosine_lr.lab import compare  # noqa: F401
assert not any(name.split('.')[0] == 'torch' for name in sys.modules)
print(f"{', '.join(ALONE)} work without torch; the rest says what it lacks:")
try: import cosine_lr.learner  # noqa: F401
except ImportError as error: print(error)
