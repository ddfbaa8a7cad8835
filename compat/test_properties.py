"""ScheduleLR under hypothesis: nonsense is refused by name, and a plan is kept wherever it is stopped."""
import json

import torch
from cosine_lr import ScheduleLR, cosine, join, linear, polynomial, position
from hypothesis import given, settings
from hypothesis import strategies as st

NONSENSE = st.one_of(
    st.none(), st.booleans(), st.integers(), st.just(10**400), st.floats(), st.text(max_size=5),
    st.binary(max_size=3), st.lists(st.integers(), max_size=3), st.just(cosine()), st.just([cosine()]),
    st.just({}))
VALUES = st.floats(0, 1, allow_subnormal=False)
SHAPES = st.one_of(st.builds(linear, VALUES, VALUES), st.builds(cosine, VALUES, VALUES),
                   st.builds(polynomial, VALUES, VALUES, st.floats(.2, 4)))


def nested(a, b, c, at): return join([a, join([b, c], at=[.5])], at=[at])


CURVES = SHAPES | st.builds(nested, SHAPES, SHAPES, SHAPES, st.floats(.01, .99))
STEPS, ENDS = st.integers(1, 60), st.sampled_from(['open', 'closed'])
PARAMETERS = ['total_steps', 'end', 'after', 'on_resume', 'last_epoch', 'lr', 'momentum', 'nesterov', 'typo']
KEYS = ['last_epoch', 'step', 'pos', 'since', 'done', 'plan', 'values', 'cooling', 'stood']
settings.register_profile('compat', max_examples=200, deadline=None, derandomize=True)
settings.load_profile('compat')


def optimizer(): return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=.5)


@given(name=st.sampled_from(PARAMETERS), value=NONSENSE)
def test_nonsense_is_refused_or_works(name, value):
    opt = optimizer()
    try: sched = ScheduleLR(opt, **dict(lr=cosine(), total_steps=10) | {name: value})
    except ValueError as error:
        assert name in str(error), error
        assert opt.param_groups[0]['lr'] == .5                         # nothing was written
    else:
        for _ in range(3): sched.step()
        repr(sched)


@given(state=st.dictionaries(st.sampled_from(KEYS), NONSENSE))
def test_a_nonsense_state_is_refused(state):
    opt = optimizer()
    sched = ScheduleLR(opt, lr=cosine(), total_steps=10)
    good = sched.state_dict()
    for broken in (state, good | state):
        try: sched.load_state_dict(broken)
        except ValueError:
            assert opt.param_groups[0]['lr'] == 1 and sched.last_epoch == 0
            assert sched.state_dict() == good
        else: sched.load_state_dict(good)


@given(curve=CURVES, total=STEPS, end=ENDS, stops=st.lists(st.integers(1, 70), max_size=4, unique=True))
def test_stops_leave_no_trace(curve, total, end, stops):
    make = lambda: ScheduleLR(optimizer(), lr=curve, total_steps=total, end=end)
    sched = make()
    for step in range(total + 5):
        assert sched.get_last_lr() == [curve(position(step, total, end))] and sched.last_epoch == step
        if step in stops:
            state, sched = json.loads(json.dumps(sched.state_dict())), make()
            sched.load_state_dict(state)
        sched.step()


@given(curve=CURVES, old=STEPS, new=STEPS, stop=st.integers(0, 60), end=ENDS,
       policy=st.sampled_from(['keep', 'stretch', 'cooldown']))
def test_a_new_horizon(curve, old, new, stop, end, policy):
    first = ScheduleLR(optimizer(), lr=curve, total_steps=old, end=end)
    for _ in range(stop): first.step()
    second = ScheduleLR(optimizer(), lr=curve, total_steps=new, end=end, on_resume=policy)
    try: second.load_state_dict(first.state_dict())
    except ValueError:
        assert stop >= new and policy != 'keep'
        return
    assert abs(second.get_last_lr()[0] - first.get_last_lr()[0]) < 1e-12        # no jump
    assert second.total_steps == (old if policy == 'keep' else new)
    for _ in range(second.total_steps + 1): second.step()
    assert abs(second.get_last_lr()[0] - curve(1.)) < 1e-12                     # the end is reached, and held
