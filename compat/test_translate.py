"""The source code that `sched.to(library, …)` writes is run in that library, and compared at every step."""
import os
import sys
from unittest.mock import MagicMock

import transformers  # before the stand-ins below, which it would look into

os.environ['KERAS_BACKEND'] = 'jax'
for part in ('', '.ops', '.ops.misc', '.transforms', '.transforms.functional', '.transforms.v2', '.datasets',
             '.models', '.models.feature_extraction'):
    sys.modules.setdefault(f'torchvision{part}', MagicMock())  # timm imports it; its schedulers do not use it

import jax
import pytest
import torch
from cosine_lr import constant, cosine, exponential, flat_cos, join, linear, polynomial, position, restarts
from cosine_lr import warmup_cosine, wsd
from cosine_lr.shapes import base, power, rex

jax.config.update('jax_enable_x64', True)
T = 200
SCHEDULES = {
    'constant': .1*constant(), 'linear': .1*linear(1, .1), 'cosine': .1*cosine(1, .1),
    'polynomial': .1*polynomial(1, .1, 3), 'exponential': .1*exponential(1, .05),
    'warmup_cosine': .1*warmup_cosine(), 'warmup_cosine_floor': .1*warmup_cosine(start=.1, end=.05),
    'warmup_linear': .1*join([linear(0, 1), linear()], at=[.1]),
    'warmup_constant': .1*join([linear(0, 1), constant()], at=[.1]),
    'warmup_polynomial': .1*join([linear(0, 1), polynomial(1, .1, 2)], at=[.1]),
    'wsd': .1*wsd(), 'flat_cos': .1*flat_cos(), 'restarts': .1*restarts(4), 'rex': .1*rex(),
    'power': .1*power(1, .1, 2), 'wsd_floor': .1*wsd(decay=linear(1, .1)),
    'wsd_from_its_floor': .1*join([linear(.2, 1), constant(), linear(1, .2)], at=[.1, .8]),
}
SAYS = dict(
    torch=set(SCHEDULES),
    optax=set(SCHEDULES) - {'rex', 'power'},
    transformers={'constant', 'warmup_cosine', 'warmup_linear', 'warmup_constant', 'warmup_polynomial',
                  'polynomial', 'wsd', 'flat_cos', 'wsd_from_its_floor'},
    keras={'linear', 'cosine', 'polynomial', 'exponential', 'warmup_cosine', 'warmup_cosine_floor'},
    timm={'linear', 'cosine', 'polynomial', 'warmup_cosine', 'warmup_cosine_floor', 'warmup_linear',
          'warmup_polynomial'},
)
TOLERANCE = dict.fromkeys(SAYS, 1e-12) | dict(keras=1e-6)  # keras computes in float32


def values(library, code, peak):
    "What the code's schedule gives at each step"
    opt = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=peak)
    scope = dict(optimizer=opt, transformers=transformers)
    exec(code, scope)
    for step in range(T):
        if library == 'optax': yield float(scope['schedule'](step))
        elif library == 'keras': yield float(scope['learning_rate'](step))
        else:
            if library == 'timm': scope['scheduler'].step_update(step)
            yield opt.param_groups[0]['lr']
            opt.step()
            if library != 'timm': scope['scheduler'].step()


@pytest.mark.parametrize('name', SCHEDULES)
@pytest.mark.parametrize('library', SAYS)
def test_translation(library, name):
    sched = SCHEDULES[name]
    if name not in SAYS[library]:
        with pytest.raises(ValueError, match=f'{library} has no words for'): sched.to(library, T)
        return
    for step, theirs in enumerate(values(library, sched.to(library, T), .1)):
        assert abs(theirs - sched(position(step, T))) < TOLERANCE[library], (step, theirs)


FACTORS = {
    'cosine': base*cosine(), 'warmup_cosine': base*warmup_cosine(), 'nested': .5*(2*(base*warmup_cosine())),
    'warmup_linear': base*join([linear(0, 1), linear()], at=[.1]), 'constant': base*constant(), 'base': base,
    'warmup_polynomial': base*join([linear(0, 1), polynomial(1, 0, 2)], at=[.1]), 'wsd': base*wsd(),
    'wsd_floor': base*wsd(decay=linear(1, .1)),
    'wsd_from_its_floor': base*join([linear(.2, 1), constant(), cosine(1, .2)], at=[.1, .8]),
    'twice': 2*base*warmup_cosine(), 'floor': base*polynomial(1, .1, 2), 'sum': base + .1*cosine(),
    'parts': join([base*linear(0, 1), base*cosine()], at=[.1]), 'squared': base*base*cosine(),
    'climbs': base*warmup_cosine(start=.1),
}
NEVER = {'sum', 'parts', 'squared'}
FACTORS_SAID = dict(torch=set(FACTORS) - NEVER, optax=set(), keras=set(),
                    transformers={'cosine', 'warmup_cosine', 'nested', 'warmup_linear', 'constant', 'base',
                                  'warmup_polynomial', 'wsd', 'wsd_from_its_floor'},
                    timm={'cosine', 'warmup_cosine', 'nested', 'warmup_linear', 'warmup_polynomial'})
OWN = [.001, .2]


def rates_of_groups(library, code):
    "What the code's scheduler gives each of two param groups at each step"
    params = [torch.zeros(1, requires_grad=True) for _ in OWN]
    opt = torch.optim.SGD([dict(params=[p], lr=lr) for p, lr in zip(params, OWN)])
    exec(code, scope := dict(optimizer=opt))
    for step in range(T):
        if library == 'timm': scope['scheduler'].step_update(step)
        yield [group['lr'] for group in opt.param_groups]
        opt.step()
        if library != 'timm': scope['scheduler'].step()


@pytest.mark.parametrize('name', FACTORS)
@pytest.mark.parametrize('library', FACTORS_SAID)
def test_a_factor_on_each_groups_own_rate(library, name):
    sched = FACTORS[name]
    if name not in FACTORS_SAID[library]:
        with pytest.raises(ValueError, match=f'{library} has no words for'): sched.to(library, T)
        return
    for step, theirs in enumerate(rates_of_groups(library, sched.to(library, T))):
        for lr, own in zip(theirs, OWN):
            assert abs(lr - sched.bound(own)(position(step, T))) < 1e-15, (step, theirs)
