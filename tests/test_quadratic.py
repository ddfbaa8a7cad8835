"""What the noisy bowl refuses."""
import re

import numpy as np
import pytest
from cosine_lr import cosine
from cosine_lr.lab.quadratic import NoisyQuadratic, best_peak, simulate

MODEL = NoisyQuadratic(steps=200)
REFUSED = {
    'rates must have shape [200] or [n, 200], one a step, got [50]': lambda: MODEL.losses(np.ones(50)),
    'rates must be numbers, at least 0, got -1.0': lambda: MODEL.losses(-np.ones(200)),
    'rates must have shape [200], one a step, got [2, 200]': lambda: simulate(MODEL, np.ones((2, 200))),
    'runs must be a whole number, at least 1, got runs=True':
        lambda: simulate(MODEL, np.ones(200), runs=True),
    'sched must be a schedule or a function of progress, got sched=0.1': lambda: MODEL.rates(.1),
    'steps must be a whole number, at least 1, got steps=0': lambda: NoisyQuadratic(steps=0),
    'noise must be a finite number, at least 0, got noise=-1': lambda: NoisyQuadratic(noise=-1),
    'peaks must reach beyond the best one, which is at their end: 0.2':
        lambda: best_peak(MODEL, cosine(), peaks=[.05, .1, .2]),
}


@pytest.mark.parametrize('said', REFUSED)
def test_the_message_of_a_wrong_call(said):
    with pytest.raises(ValueError, match='^' + re.escape(said)): REFUSED[said]()
