"""Sweeps: a fleet's step for one run, its matrix products alone, and 64 schedules with 8 seeds each."""
import time

import numpy as np
import torch
from cosine_lr import DataLoaders, cosine, run_fleet

from .loops import by_hand, fastai, lightning
from .measure import WALL, check_equal_work, clocked, measure
from .task import BATCH, PEAK, SGD, Task, mlp

FLEET, SCHEDULES, SEEDS, EPOCHS = 256, 64, 8, 7
PRODUCTS = 'its matrix products alone'
PEAKS = np.geomspace(PEAK/2, 2*PEAK, SCHEDULES)


def fleet(scheds, seeds, epochs, compile, task=None):
    task = task or Task(mlp, 0, epochs=epochs, clock=WALL)
    task.train.generator = task.rows.generator # a fleet sets the order of each run's rows through it
    dls = DataLoaders(task.train, task.valid)
    return run_fleet(mlp, dls, scheds, seeds=seeds, epochs=epochs, opt_func=SGD, compile=compile, quiet=True)


def fleet_step(members, compile, epochs=50, validate=False):
    """Seconds for a step of one run of up to 8 rival schedules with common seeds: what all epochs but the
    first take, so set-up and compiling do not count, but tracing does"""
    rivals = min(8, members)
    def turn(k):
        def seconds(epochs):
            task = Task(mlp, k, epochs=epochs, clock=WALL, validate=validate)
            start = WALL()
            fleet([peak*cosine() for peak in PEAKS[::8][:rivals]], members//rivals, epochs, compile, task)
            return (WALL() - start)/task.steps
        return (seconds(epochs) - seconds(1))/(epochs - 1)/members, {}
    return turn


def hand_step(validate=False):
    def turn(k):
        task = Task(mlp, k, clock=WALL, validate=validate)
        by_hand(task)
        return task.seconds, {}
    return turn


def products(members):
    "Seconds of one run's step that its five matrix products take alone: all that is left if the rest is free"
    def drawn(*shape): return torch.rand(members, *shape)
    x, w1, hidden = drawn(BATCH, 64), drawn(64, 64), drawn(64, BATCH)
    w2, dz, back = drawn(10, 64), drawn(10, BATCH), drawn(64, BATCH)
    pairs = (w1, x.mT), (w2, hidden), (dz, hidden.mT), (w2.mT, dz), (back, x)
    out = {shape: torch.empty(members, *shape) for shape in ((64, BATCH), (10, BATCH), (10, 64))}
    times = max(5, 5000//members)
    def turn(k):
        start = WALL()
        for _ in range(times):
            for a, b in pairs: torch.bmm(a, b, out=out[a.shape[1], b.shape[2]])
        return (WALL() - start)/times/members, {}
    return turn


# --- the whole sweep ---

def whole(compile):
    "All runs; the accuracy is that of the schedule in the middle, which is the one that the others train by"
    def sweep(k):
        found = fleet([peak*cosine() for peak in PEAKS], SEEDS, EPOCHS, compile)
        return dict(accuracy=float(found.values['accuracy'][SCHEDULES//2, :, -1].mean()))
    return clocked(sweep)


def one_run(loop, by_row=False):
    "The sweep's time from one of its runs, times their number: the runs do not differ in cost"
    def turn(k):
        start = time.perf_counter()
        _, accuracy = loop(Task(mlp, k % SEEDS, by_row, EPOCHS))
        return (time.perf_counter() - start)*SCHEDULES*SEEDS, dict(accuracy=accuracy)
    return turn


def optuna(k):
    "The sweep's time from one trial, a schedule with all seeds, times the number of schedules"
    import optuna
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    def objective(trial):
        peak = trial.suggest_float('peak', PEAKS[0], PEAKS[-1], log=True)
        accuracies = [by_hand(Task(mlp, seed, epochs=EPOCHS), peak=peak)[1] for seed in range(SEEDS)]
        return float(np.mean(accuracies))
    start = time.perf_counter()
    study = optuna.create_study(direction='maximize', sampler=optuna.samplers.TPESampler(seed=k))
    study.enqueue_trial(dict(peak=PEAK))
    study.optimize(objective, n_trials=1)
    return (time.perf_counter() - start)*SCHEDULES, dict(accuracy=study.best_value)


def steps(validate):
    return {'by hand': hand_step(validate), f'fleet of {FLEET}': fleet_step(FLEET, False, validate=validate),
            f'fleet of {FLEET}, compiled': fleet_step(FLEET, True, validate=validate)}


def sweeps():
    return {'by hand': one_run(by_hand), 'fleet': whole(False), 'fleet, compiled': whole(True),
            'Optuna, by hand': optuna,
            'fastai': one_run(fastai, True), 'fastai, loader in memory': one_run(fastai),
            'Lightning': one_run(lightning, True), 'Lightning, loader in memory': one_run(lightning)}


def run(rounds):
    torch.set_num_threads(2)
    start = time.perf_counter()
    whole(compile=True)(0)
    first = time.perf_counter() - start
    step = measure(steps(False) | {PRODUCTS: products(FLEET)}, rounds, 'sweeps, a step', 'by hand')
    validated = measure(steps(True), rounds, 'sweeps, with validation', 'by hand')
    sweep = check_equal_work(measure(sweeps(), max(5, rounds//2), 'sweeps, the whole', 'by hand'))
    return dict(step=step, validated=validated, sweep=sweep, first=first)
