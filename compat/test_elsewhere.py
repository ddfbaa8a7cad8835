"""Schedules in JAX, under its compiler; in optax, as they are; in Keras, saved with a model."""
import json
import os
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cosine_lr import cosine, recipes, shapes
from cosine_lr.view import keras_schedule, per_step

os.environ['KERAS_BACKEND'] = 'jax'  # there is no TensorFlow here
jax.config.update('jax_enable_x64', True)
POS = np.linspace(0, 1, 501)
RECIPES = [getattr(recipes, name)() for name in recipes.__all__ if name != 'warmup']
SCHEDS = [*RECIPES, recipes.warmup(shapes.rex()), 0.1*cosine() + .01, shapes.noisy(cosine(), seed=3)]
NOTEBOOK = Path(__file__).parent.parent/'nbs/view/elsewhere.ipynb'


@pytest.mark.parametrize('sched', SCHEDS, ids=lambda sched: f'{sched!r:.40}')
def test_jax_gives_the_values_of_numpy_compiled_or_not(sched):
    ours = sched(POS)
    assert np.abs(np.asarray(jax.jit(sched)(jnp.asarray(POS))) - ours).max() < 1e-12
    assert np.abs([float(jax.jit(sched)(pos)) for pos in POS[::50]] - ours[::50]).max() < 1e-12
    single = sched(jnp.float32(.5))
    assert single.dtype == jnp.float32 and abs(float(single) - sched(.5)) < 1e-6


@pytest.mark.parametrize('sched', SCHEDS, ids=lambda sched: f'{sched!r:.40}')
def test_optax_takes_a_schedule_bound_to_its_steps(sched):
    steps = per_step(sched, 40)
    optimizer = optax.sgd(steps)
    weight = jnp.zeros(3)
    state, update = optimizer.init(weight), jax.jit(optimizer.update)
    for step in range(45):
        moved, state = update(jnp.ones(3), state)
        assert abs(float(moved[0]) + sched(min(step/40, 1.))) < 1e-6


def snippet(library):
    "The code that the notebook shows for a library."
    cells = json.loads(NOTEBOOK.read_text(encoding='utf-8'))['cells']
    code = re.findall(r'```python\n(.+?)```', '\n'.join(''.join(cell['source']) for cell in cells), re.DOTALL)
    return next(text for text in code if f'import {library}' in text)


@pytest.mark.parametrize('library', ['optax', 'keras'])
def test_the_notebooks_words(library):
    names = {}
    exec(snippet(library), names)
    assert names['optimizer'] is not None


@pytest.mark.parametrize('sched', SCHEDS, ids=lambda sched: f'{sched!r:.40}')
def test_keras_sees_the_values(sched):
    steps, theirs = per_step(sched, 100, 'closed'), keras_schedule(sched, 100, end='closed')
    gaps = [abs(float(theirs(step)) - steps(step)) for step in range(120)]
    assert max(gaps) < 1e-6*(1 + abs(sched(POS)).max())


def test_keras_trains_saves_and_goes_on(tmp_path):
    import keras
    optimizer = keras.optimizers.SGD(keras_schedule(0.1*cosine(), 20))
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])
    model.compile(optimizer, 'mse')
    x, y = np.ones((32, 4), np.float32), np.zeros((32, 1), np.float32)
    model.fit(x, y, batch_size=4, epochs=1, verbose=0)
    assert abs(float(optimizer.learning_rate) - (0.1*cosine())(8/20)) < 1e-6
    model.save(tmp_path/'model.keras')
    again = keras.saving.load_model(tmp_path/'model.keras')
    assert abs(float(again.optimizer.learning_rate) - (0.1*cosine())(8/20)) < 1e-6
    again.fit(x, y, batch_size=4, epochs=1, verbose=0)
    assert abs(float(again.optimizer.learning_rate) - (0.1*cosine())(16/20)) < 1e-6
