"""Floors under the test accuracies: what the notes print, reached by every lesson."""
import os
import re
import subprocess
import sys

import pytest

from conftest import ROOT, run_lesson

GENUINE = os.path.join(ROOT, '..', 'shared', 'data', 'notMNIST_small.tar.gz')
LESSONS = [  # command, floor on the letters, floor on the genuine notMNIST_small
    ('full_connect.py', 83.2, 84.0),
    ('sgd.py --stddev 0.1', 86.5, 85.6),
    ('relu_nn.py', 88.8, 89.5),
    ('nn_overfit.py --offset-range 0 --l2 0.001', 92.7, 90.0),
    ('nn_overfit.py --offset-range 0 --l2 0.002', 93.5, 91.0),
    ('nn_overfit.py --offset-range 0 --decay', 90.6, 89.5),
]
SEED = 1  # of one run; the README has means over three
NOISE = 1.0  # points: about two standard errors of an accuracy on the 2,232 genuine test images


def accuracy(command, data='letters'):
    """Test accuracy in percent of one run, and its log."""
    run = run_lesson('%s --data %s --seed %d' % (command, data, SEED))
    assert (run.returncode, run.stderr) == (0, '')
    return float(re.search(r'^Test accuracy: ([\d.]+)%', run.stdout, re.M).group(1)), run.stdout


@pytest.fixture(scope='module')
def genuine(tmp_path_factory):
    """The small archive of notMNIST as the README makes it, where there is one."""
    if not os.path.exists(GENUINE):
        pytest.skip('no genuine notMNIST_small.tar.gz beside the project')
    path = str(tmp_path_factory.mktemp('genuine') / 'notmnist_small.npz')
    subprocess.run([sys.executable, '-m', 'data.notmnist', '--small-only', '--small', GENUINE,
                    '--out', path], cwd=ROOT, check=True, stdout=subprocess.PIPE)
    return path


@pytest.mark.accuracy
@pytest.mark.parametrize('command, floor', [row[:2] for row in LESSONS])
def test_letters(command, floor):
    assert accuracy(command)[0] >= floor


@pytest.mark.accuracy
def test_overfitting_shows_and_dropout_helps():
    overfit, log = accuracy('nn_overfit.py')
    steps = re.findall(r'^step +(\d+)/.* minibatch accuracy +([\d.]+)%  '
                       r'validation accuracy +([\d.]+)%', log, re.M)
    late = [(float(train), float(valid)) for step, train, valid in steps if int(step) >= 500]
    assert min(train for train, _ in late) == 100.0
    assert max(valid for _, valid in late) - min(valid for _, valid in late) < 1.0
    with_dropout, _ = accuracy('nn_overfit.py --dropout')
    assert overfit >= 84.8 and with_dropout >= 88.0
    assert with_dropout >= overfit + 1.0


@pytest.mark.slow
@pytest.mark.parametrize('command, floor', [(row[0], row[2]) for row in LESSONS])
def test_genuine_letters(command, floor, genuine):
    assert accuracy(command, genuine)[0] >= floor - NOISE


@pytest.mark.slow
def test_six_layers_reach_the_figure_of_the_notes():
    assert accuracy('deep_nn.py --layers 6 --dropout --l2 0.001')[0] >= 95.2


@pytest.mark.slow
def test_six_layers_on_genuine_letters(genuine):
    assert accuracy('deep_nn.py --layers 6 --dropout --l2 0.001', genuine)[0] >= 92.7 - NOISE


@pytest.mark.slow
@pytest.mark.parametrize('layers', range(2, 17))
def test_any_depth_trains_on_letters(layers):
    assert accuracy('deep_nn.py --dropout --steps 3001 --layers %d' % layers)[0] >= 60
