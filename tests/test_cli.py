"""What a notebook cannot test: the console command as a process of its own."""
import csv
import os
import signal
import subprocess
import sys
import time

import pytest

import cosine_lr
from cosine_lr import cli
from cosine_lr.view.stored import from_code

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, '-c', 'from cosine_lr.cli import main; raise SystemExit(main())']


def run(*args, **kw): return subprocess.run([*COMMAND, *args], capture_output=True, text=True, **kw)


def test_help_names_every_option_and_command():
    text = run('--help', check=True).stdout
    for option in ('--epochs', '--lr', '--seed', '--schedule', '--bs', '--out', '--quiet', '--version'):
        assert option in text
    for command in ('trial', 'search', 'law', 'lint', 'show'): assert f'\n  {command} ' in text


def test_it_says_its_version():
    assert run('--version', check=True).stdout == f'cosine_lr {cosine_lr.__version__}\n'


def test_the_package_is_the_command():
    done = subprocess.run([sys.executable, '-m', 'cosine_lr', '--version'], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f'cosine_lr {cosine_lr.__version__}\n')


def test_a_wrong_word_is_told_the_commands():
    done = run('serach')
    assert done.returncode == 2 and not done.stdout
    for command in ('trial', 'search', 'law', 'lint', 'show'): assert command in done.stderr


def test_a_rate_that_is_too_high_is_told_so():
    done = run('--lr', '1e31')
    assert done.returncode == 2
    assert 'lr must be a finite number, above 0 and below 1e+30, got lr=1e+31' in done.stderr


def test_unwritable_folder_is_refused_before_training(tmp_path):
    (tmp_path/'file').write_text('not a folder')
    done = run('--out', str(tmp_path/'file'/'results'))
    assert done.returncode == 2 and '--out' in done.stderr and 'cannot write' in done.stderr
    assert 'epoch' not in done.stdout


def test_table_and_bars_are_shown(tmp_path):
    done = run('--epochs', '2', '--out', str(tmp_path), check=True)
    assert 'valid_loss' in done.stdout and 'time' in done.stdout and 'best validation loss' in done.stdout
    assert 'epoch 1' in done.stderr and '34/34' in done.stderr


def interruptible(): signal.signal(signal.SIGINT, signal.default_int_handler)


def start(*args, **kw):
    "The command in a process that Ctrl-C can stop, even where the tests run in the background."
    kw = dict(stdout=subprocess.PIPE, text=True, preexec_fn=interruptible) | kw
    return subprocess.Popen([*COMMAND, *args], **kw)


def wait_for(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline: time.sleep(.05)


def test_ctrl_c_keeps_the_finished_epochs(tmp_path):
    process = start('--epochs', '100000', '--quiet', '--out', str(tmp_path))
    try:
        rows = tmp_path/'results.csv'
        wait_for(lambda: rows.exists() and rows.read_text().count('\n') > 5, 300)
        for pause in (0, .001, .01, .1, .3):  # an impatient user, while training ends and figures are written
            time.sleep(pause)
            process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=120)
    finally: process.kill()
    assert process.returncode == 130
    kept = list(csv.DictReader(rows.open()))
    assert len(kept) >= 5 and all(row['valid_loss'] for row in kept)
    assert f'the {len(kept)} finished epochs' in said
    figures = {path.stem for path in tmp_path.glob('*.png')}
    assert figures == {'figure1', 'figure2', 'losses'}  # none of the runs that had not begun


def test_a_ctrl_c_while_it_validates_leaves_that_epoch_out(tmp_path, monkeypatch, capsys):
    def interrupted(rows, learn):
        if not learn.training and learn.epoch == 2: raise KeyboardInterrupt
    monkeypatch.setattr(cli._CSVRows, 'after_predict', interrupted, raising=False)
    assert cli.main(['--epochs', '4', '--quiet', '--out', str(tmp_path)]) == 130
    assert 'the 2 finished epochs' in capsys.readouterr().out
    assert len(list(csv.DictReader((tmp_path/'results.csv').open()))) == 2
    assert (tmp_path/'losses.png').exists()


def test_trial_is_a_command_of_its_own(tmp_path):
    text = run('trial', '--help', check=True).stdout
    assert '--seeds' in text and '--out' in text and '--epochs' not in text
    done = run('trial', '--seeds', 'many', cwd=tmp_path)
    assert done.returncode == 2 and '--seeds' in done.stderr and not list(tmp_path.iterdir())


def test_ctrl_c_in_a_trial_keeps_the_answers_so_far(tmp_path):
    process = start('trial', '--seeds', '5', '--out', str(tmp_path), stderr=subprocess.PIPE)
    try:
        figure = tmp_path/'trial_peaks.png'
        wait_for(lambda: figure.exists() or process.poll() is not None, 120)
        process.send_signal(signal.SIGINT)
        said, bar = process.communicate(timeout=60)
    finally: process.kill()
    assert process.returncode == 130 and 'the answers so far are in' in said
    assert '/71' in bar and 'Traceback' not in bar
    assert len(list(csv.DictReader((tmp_path/'trial_peaks.csv').open()))) == 7*5*2


def test_a_linter_for_scripts():
    done = run('lint', '0.1*cosine()', '--steps', '1000')
    assert (done.returncode, done.stdout, done.stderr) == (0, '0.1 * cosine(1, 0)\nnothing found\n', '')
    done = run('lint', '0.1*wsd()', '--steps', '1000')
    assert done.returncode == 1 and 'the first step is taken at 0' in done.stdout
    done = run('lint', '__import__("os").getcwd()', '--steps', '1000')
    assert done.returncode == 2 and 'must be the code of a schedule' in done.stderr


def test_a_schedule_at_a_glance(tmp_path):
    done = run('show', '0.1*wsd()', '--steps', '1000', cwd=tmp_path)
    assert done.returncode == 0 and not done.stderr and not list(tmp_path.iterdir())
    assert done.stdout.startswith('0.1 * join(') and 'the first step is taken at 0' in done.stdout
    assert done.stdout.count('█') > 200 and '0.1 ┤' in done.stdout
    plain = run('show', '0.1*wsd()', '--steps', '1000', env=os.environ | dict(PYTHONIOENCODING='ascii'))
    assert plain.returncode == 0 and plain.stdout.count('?') > 200


@pytest.mark.parametrize('library', ['torch', 'transformers'])
def test_show_writes_a_figure_and_code_alone(tmp_path, library):
    args = '--steps', '1000', '--out', str(tmp_path/'new'), '--to', library, '--quiet'
    done = run('show', '0.1*warmup_cosine()', *args)
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout == (.1*cosine_lr.warmup_cosine()).to(library, 1000)
    assert (tmp_path/'new'/'schedule.png').read_bytes()[:4] == b'\x89PNG'


WRONG = {('0.1*sine()',): 'known are linear, cosine', ('cosine(begin=1)',): 'cosine takes start, end',
         ('0.1*wsd()', '--to', 'paddle'): 'transformers', ('0.1*wsd()', '--out', __file__): 'cannot write to',
         ('__import__("os").getcwd()',): 'must be the code'}


@pytest.mark.parametrize('args', WRONG, ids=' '.join)
def test_show_says_what_would_be_right(args):
    done = run('show', *args, '--steps', '9')
    assert done.returncode == 2 and not done.stdout and WRONG[args] in done.stderr
    assert 'Traceback' not in done.stderr


@pytest.mark.parametrize('code', ['-cosine()', '-0.1*wsd()', '-base*cosine()'])
def test_a_schedule_may_begin_with_a_minus(code, capsys):
    args = [code, '--steps', '1000']
    assert cli.main(['show', *args]) == 0 and cli.main(['lint', *args]) in (0, 1)
    told = capsys.readouterr()
    assert not told.err and told.out.count(f'{from_code(code)}\n') == 2


def test_a_wrong_one_with_a_minus_is_quoted_as_it_was_given(capsys):
    with pytest.raises(SystemExit): cli.main(['show', '-sine()', '--steps', '9'])
    assert "got '-sine()'" in capsys.readouterr().err


def test_show_says_what_a_library_has_no_words_for():
    done = run('show', '0.1*restarts()', '--steps', '900', '--to', 'transformers')
    assert done.returncode == 1 and not done.stdout and 'transformers has no words for' in done.stderr


def test_show_asks_for_the_steps():
    done = run('show', '0.1*wsd()')
    assert done.returncode == 2 and '--steps must be given' in done.stderr


@pytest.mark.parametrize('command', ['show', 'lint'])
def test_steps_that_no_float_counts_are_refused(command):
    done = run(command, '0.1*wsd()', '--steps', str(2**53 + 1))
    assert done.returncode == 2 and 'a whole number from 1 to 9,007,199,254,740,992' in done.stderr


def until_the_first_line(*args):
    "A command whose reader leaves after one line, as `| head -1` does: its status, and what it complains of"
    command = subprocess.Popen([*COMMAND, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    command.stdout.readline()
    command.stdout.close()
    said = command.stderr.read().decode()
    return command.wait(), said


@pytest.mark.skipif(os.name == 'nt', reason='pipes break otherwise there')
@pytest.mark.parametrize('args', [
    ('show', '.1*wsd()', '--steps', '2000', '--to', 'torch'), ('--help',),
    ('lint', '.1*cosine()', '--steps', '9'),
    ('--epochs', '1'), ('trial', '--seeds', '5'), ('search', '--help')], ids=' '.join)
def test_a_reader_may_leave(tmp_path, args):
    if args[0] in ('--epochs', 'trial'): args = *args, '--out', str(tmp_path)
    status, said = until_the_first_line(*args)
    assert 'Traceback' not in said and 'BrokenPipe' not in said and 'cannot write' not in said
    assert status in (0, 1, 141)  # a short text has been written before the reader leaves
