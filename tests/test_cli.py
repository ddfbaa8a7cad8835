"""What a notebook cannot test: the console command as a process of its own."""
import csv
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, '-c', 'from cosine_lr.cli import main; raise SystemExit(main())']


def test_help_names_every_option():
    text = subprocess.run([*COMMAND, '--help'], capture_output=True, text=True, check=True).stdout
    for option in ('--epochs', '--lr', '--seed', '--schedule', '--bs', '--out', '--quiet'): assert option in text


def test_unwritable_folder_is_refused_before_training(tmp_path):
    (tmp_path/'file').write_text('not a folder')
    run = subprocess.run([*COMMAND, '--out', str(tmp_path/'file'/'results')], capture_output=True, text=True)
    assert run.returncode == 2 and '--out' in run.stderr and 'cannot write' in run.stderr and 'epoch' not in run.stdout


def test_table_and_bars_are_shown(tmp_path):
    run = subprocess.run([*COMMAND, '--epochs', '2', '--out', str(tmp_path)], capture_output=True, text=True, check=True)
    assert 'valid_loss' in run.stdout and 'time' in run.stdout and 'best validation loss' in run.stdout
    assert 'epoch 1' in run.stderr and '34/34' in run.stderr


def interruptible(): signal.signal(signal.SIGINT, signal.default_int_handler)  # even where the tests run in the background


def test_ctrl_c_keeps_the_finished_epochs(tmp_path):
    process = subprocess.Popen([*COMMAND, '--epochs', '100000', '--quiet', '--out', str(tmp_path)], stdout=subprocess.PIPE, text=True, preexec_fn=interruptible)
    try:
        rows, deadline = tmp_path/'results.csv', time.monotonic() + 60
        while not (rows.exists() and rows.read_text().count('\n') > 5) and time.monotonic() < deadline: time.sleep(.05)
        process.send_signal(signal.SIGINT)
        time.sleep(.3)
        process.send_signal(signal.SIGINT)   # an impatient second one, while figures are written
        said, _ = process.communicate(timeout=60)
    finally: process.kill()
    assert process.returncode == 130
    kept = list(csv.DictReader(rows.open()))
    assert len(kept) >= 5 and all(row['valid_loss'] for row in kept)
    assert f'the {len(kept)} finished epochs' in said
    assert all((tmp_path/f'figure{i}.png').stat().st_size > 0 for i in range(1, 5))


def test_trial_is_a_command_of_its_own(tmp_path):
    text = subprocess.run([*COMMAND, 'trial', '--help'], capture_output=True, text=True, check=True).stdout
    assert '--seeds' in text and '--out' in text and '--epochs' not in text
    run = subprocess.run([*COMMAND, 'trial', '--seeds', 'many'], capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 2 and '--seeds' in run.stderr and not list(tmp_path.iterdir())


def test_ctrl_c_in_a_trial_keeps_the_answers_so_far(tmp_path):
    process = subprocess.Popen([*COMMAND, 'trial', '--seeds', '5', '--out', str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=interruptible)
    try:
        figure, deadline = tmp_path/'trial_peaks.png', time.monotonic() + 120
        while not figure.exists() and process.poll() is None and time.monotonic() < deadline: time.sleep(.05)
        process.send_signal(signal.SIGINT)
        said, bar = process.communicate(timeout=60)
    finally: process.kill()
    assert process.returncode == 130 and 'the answers so far are in' in said
    assert 'peaks: MLP' in bar and '/14' in bar and 'Traceback' not in bar
    assert len(list(csv.DictReader((tmp_path/'trial_peaks.csv').open()))) == 7*5*2
