"""Killed at any moment and gone on: the same log and the same bits as if never killed."""
import random
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import checkpoints
import utils
import tensorflow.compat.v1 as tf
from conftest import ROOT, run_lesson
from test_lessons import without_times

# Everything that remembers: dropout, augmentation, moving moments, the optimizer, the schedule.
RUN = ('deep_nn.py --data %s --layers 4 --hidden 128 --batch-size 32 --dropout --input-dropout '
       '--augment --batch-norm --optimizer adam --schedule one-cycle --l2 0.0001 '
       '--report-every 20 ')


def steps_and_test(log):
    """The lines that a run is judged by, less their times."""
    return [line for line in without_times(log).splitlines() if re.match('step |Test ', line)]


def weights(folder):
    """All variables in the newest checkpoint of a folder, the record of flags and times apart."""
    reader = tf.train.load_checkpoint(str(folder))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()
            if name != 'record'}


def kill_until_done(command, folder, draw, kills, span):
    """Kill a run so often at random moments, let the last one end; returns what was printed."""
    printed = []
    for left in range(kills, -1, -1):
        words = command.split()
        process = subprocess.Popen(
            [sys.executable, ROOT + '/' + words[0]] + words[1:] + ['--checkpoint', str(folder),
                                                                   '--resume'],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
        if left:
            first = process.stdout.readline()  # the run is on its way: now any moment will do
            time.sleep(draw.uniform(0, span))
            process.send_signal(signal.SIGKILL)
            printed.append(first + process.communicate()[0])
        else:
            out, errors = process.communicate(timeout=600)
            assert (process.returncode, errors) == (0, '')
            printed.append(out)
    return printed


def check_kills(shapes, tmp_path, kills, steps):
    """Run once undisturbed and once with kills, and compare everything."""
    command = RUN % shapes + '--steps %d' % steps
    start = time.time()
    whole = run_lesson(command + ' --checkpoint %s' % (tmp_path / 'whole'))
    span = time.time() - start
    assert (whole.returncode, whole.stderr) == (0, '')
    expected = steps_and_test(whole.stdout)
    draw = random.Random(3)
    printed = kill_until_done(command, tmp_path / 'killed', draw, kills, span / min(kills, 4))
    for out in printed:
        # A killed run may leave half a line; every whole one is one of the undisturbed run's.
        lines = steps_and_test(out[:out.rfind('\n') + 1])
        assert set(lines) <= set(expected)
    last = steps_and_test(printed[-1])
    assert last == expected[-len(last):]
    together = '\n'.join(printed)
    assert all(line in without_times(together) for line in expected)
    one, other = weights(tmp_path / 'whole'), weights(tmp_path / 'killed')
    assert sorted(one) == sorted(other) and len(one) > 30
    for name in one:
        assert one[name].tobytes() == other[name].tobytes(), name
    return sum('Going on from step' in out for out in printed)


def test_two_kills_change_nothing(shapes, tmp_path):
    check_kills(shapes, tmp_path, kills=2, steps=601)


@pytest.mark.slow
def test_twenty_kills_change_nothing(shapes, tmp_path):
    assert check_kills(shapes, tmp_path, kills=20, steps=6001) > 3


def test_ctrl_c_saves_and_says_so(shapes, tmp_path):
    command = RUN % shapes + '--steps 601'
    whole = run_lesson(command)
    words = command.split() + ['--checkpoint', str(tmp_path)]
    process = subprocess.Popen([sys.executable, ROOT + '/' + words[0]] + words[1:],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               universal_newlines=True)
    lines = [process.stdout.readline() for _ in range(4)]
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (130, '')
    stop = re.search(r'^Stopped by Ctrl-C before step (\d+): best validation accuracy [\d.]+% at '
                     r'step \d+; the same command with --resume goes on\.$', rest, re.M)
    assert stop
    gone_on = run_lesson(' '.join(words) + ' --resume')
    assert gone_on.returncode == 0
    assert 'Going on from step %s\n' % stop.group(1) in gone_on.stdout
    both = steps_and_test(''.join(lines) + rest) + steps_and_test(gone_on.stdout)
    assert both == steps_and_test(whole.stdout)


def test_ctrl_c_without_a_checkpoint(shapes):
    words = (RUN % shapes + '--steps 100000').split()
    process = subprocess.Popen([sys.executable, ROOT + '/' + words[0]] + words[1:],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               universal_newlines=True)
    for _ in range(3):
        process.stdout.readline()
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (130, '')
    assert 'nothing was saved.' in rest


@pytest.fixture(scope='module')
def saved(shapes, tmp_path_factory):
    """A folder with the checkpoint of a finished short run, and the command that made it."""
    folder = tmp_path_factory.mktemp('saved')
    command = 'deep_nn.py --data %s --layers 3 --hidden 32 --batch-size 32 --steps 5' % shapes
    assert run_lesson(command + ' --checkpoint %s' % folder).returncode == 0
    return folder, command


def refused(command):
    """The one sentence with which a run ends."""
    run = run_lesson(command)
    assert (run.returncode, run.stdout.count('Test accuracy')) == (2, 0)
    assert len(run.stderr.splitlines()) == 1
    return run.stderr


def test_a_finished_run_tells_its_result_again(saved):
    folder, command = saved
    again = run_lesson('%s --checkpoint %s --resume' % (command, folder))
    assert again.returncode == 0 and 'Going on from step 5' in again.stdout
    assert re.search('^Test accuracy', again.stdout, re.M)


@pytest.mark.parametrize('more, said', [
    ('--resume --l2 0.001', 'made with --l2 0.0 and this run has --l2 0.001'),
    ('--resume --batch-norm', 'made with no --batch-norm and this run has --batch-norm'),
    ('--resume --seed 1', 'made with --seed 42 and this run has --seed 1'),
    ('', 'add --resume'),
])
def test_a_checkpoint_of_another_run_is_refused(more, said, saved):
    folder, command = saved
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert said in refused('%s --checkpoint %s %s' % (command, folder, more))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_checkpoint_of_other_images_is_refused(saved, shapes, tmp_path):
    folder, command = saved
    with np.load(shapes) as file:
        arrays = dict(file)
    arrays['train_dataset'] = arrays['train_dataset'][::-1]
    other = str(tmp_path / 'other.npz')
    utils.formats.write(other, arrays)
    said = refused('%s --checkpoint %s --resume' % (command.replace(shapes, other), folder))
    assert 'other training images' in said


def test_a_broken_checkpoint_is_refused(saved, tmp_path):
    folder, command = saved
    for name in [path.name for path in folder.iterdir()]:
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    for data in tmp_path.glob('*.data-*'):
        data.write_bytes(data.read_bytes()[:100])
    assert 'cannot be read' in refused('%s --checkpoint %s --resume' % (command, tmp_path))
    for file in tmp_path.glob('model-*'):
        file.unlink()
    assert 'not the files it names' in refused('%s --checkpoint %s --resume' % (command, tmp_path))


def test_resume_before_the_first_checkpoint_begins(shapes, tmp_path):
    run = run_lesson('deep_nn.py --data %s --layers 2 --hidden 8 --batch-size 32 --steps 3 '
                     '--checkpoint %s --resume' % (shapes, tmp_path))
    assert run.returncode == 0 and 'from the beginning' in run.stdout


def test_only_flags_that_change_the_result_count():
    flags = utils.Flags('', 10, 2, 0.5, 1, 1).parse_args(['--logdir', '.', '--plot', '.'])
    flags.schedule = 'one-cycle'  # ends where the steps do
    counted = {'steps', 'batch_size', 'lr', 'seed', 'shuffle', 'schedule'}
    assert set(checkpoints.of_account(flags)) == counted
    flags.schedule = 'constant'
    assert set(checkpoints.of_account(flags)) == counted - {'steps'}
