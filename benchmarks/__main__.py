"""Measure cosine_lr beside its peers, each part in a process of its own; the report follows each part."""
import argparse
import datetime
import os
import platform
import re
import time
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

PARTS = ('loops', 'gpt', 'finders', 'schedules', 'sweeps', 'growth', 'footprint')
PACKAGES = ('torch', 'numpy', 'fastai', 'lightning', 'pytorch-ignite', 'skorch', 'accelerate',
            'torch-lr-finder', 'optuna', 'transformers', 'optax')


def machine():
    cpu = Path('/proc/cpuinfo')
    named = re.search(r'model name\s*: (.*)', cpu.read_text()) if cpu.exists() else None
    return named[1] if named else platform.processor() or platform.machine()


def measured(part, rounds):
    "What a part measured, in a process of its own; and when, where and how long."
    from .measure import run_part
    start, load = time.time(), os.getloadavg()[0]
    with ProcessPoolExecutor(1, mp_context=get_context('spawn')) as pool:
        found = pool.submit(run_part, part, rounds).result()
    return found, dict(date=datetime.date.today().isoformat(), machine=machine(),
                       cores=len(os.sched_getaffinity(0)), load=load, rounds=rounds,
                       minutes=(time.time() - start)/60)


def main():
    parser = argparse.ArgumentParser(prog='benchmarks', description=__doc__)
    parser.add_argument('parts', nargs='*', metavar='part',
                        help=f"{', '.join(PARTS)}; or `report`, which measures nothing (default: all)")
    parser.add_argument('--rounds', type=int, default=20,
                        help='turns of each contestant (default: 20; parts with long turns take fewer)')
    args = parser.parse_args()
    unknown = set(args.parts) - {*PARTS, 'report'}
    if unknown: parser.error(f'no part is called {sorted(unknown)[0]}')
    os.environ.update(HF_HUB_OFFLINE='1', TOKENIZERS_PARALLELISM='false', PYTHONWARNINGS='ignore')

    from . import report # its imports look at these variables
    done = report.read()
    for part in [part for part in args.parts or PARTS if part != 'report']:
        done[part], about = measured(part, args.rounds)
        done.setdefault('made', {})[part] = about
        done['versions'] = {'Python': platform.python_version(), **{name: version(name) for name in PACKAGES}}
        report.write(done)
    report.write(done)
    print(f'{report.HERE/"report.md"}:', report.claims_table(done), sep='\n')


if __name__ == '__main__': main()
