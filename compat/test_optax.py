"""optax's schedules, pure functions like ours, as an oracle at every step, in float64."""
import jax
import optax
import pytest
from cosine_lr import constant, cosine, exponential, join, linear, polynomial, position, restarts

jax.config.update('jax_enable_x64', True)
T, W = 120, 20
CYCLE = dict(init_value=0., peak_value=.1, warmup_steps=10, end_value=0.)
ORACLES = {
    'constant': (optax.constant_schedule(.1), .1*constant()),
    'linear': (optax.linear_schedule(.1, .01, T), linear(.1, .01)),
    'cosine': (optax.cosine_decay_schedule(.1, T, alpha=.1), .1*cosine(1, .1)),
    'exponential': (optax.exponential_decay(.1, T, .01), .1*exponential(1, .01)),
    'polynomial': (optax.polynomial_schedule(.1, .001, 3, T), polynomial(.1, .001, 3)),
    'warmup_cosine': (optax.warmup_cosine_decay_schedule(0., .1, W, T, end_value=.01),
                      join([linear(0, .1), cosine(.1, .01)], at=[W/T])),
    'warmup_exponential': (optax.warmup_exponential_decay_schedule(0., .1, W, T - W, .01),
                           join([linear(0, .1), exponential(.1, .001)], at=[W/T])),
    'join': (optax.join_schedules([optax.linear_schedule(0., .1, W), optax.constant_schedule(.1),
                                   optax.linear_schedule(.1, 0., 30)], [W, 90]),
             join([linear(0, .1), constant(.1), linear(.1, 0)], at=[W/T, 90/T])),
    'sgdr': (optax.sgdr_schedule([dict(CYCLE, decay_steps=40)]*3),
             restarts(3, shape=join([linear(0, .1), cosine(.1, 0)], at=[.25]))),
    'cosine_onecycle': (optax.cosine_onecycle_schedule(T, .1, .25, 25., 1e4),
                        .1*join([cosine(1/25, 1), cosine(1, 1/25e4)], at=[.25])),
    'linear_onecycle': (optax.linear_onecycle_schedule(T, .1, .25, .75, 25., 1e4),
                        .1*join([linear(1/25, 1), linear(1, 1/25), linear(1/25, 1/25e4)], at=[.25, .75])),
}


@pytest.mark.parametrize('name', ORACLES)
def test_schedules_agree(name):
    theirs, ours = ORACLES[name]
    for step in range(T + 1): assert abs(float(theirs(step)) - ours(position(step, T))) < 1e-12, step
