"""The lessons as readers run them: what is printed, what is refused, what repeats."""
import re

import numpy as np
import pytest

from conftest import ROOT, run_here, run_lesson
from data import formats

LESSONS = ['full_connect.py', 'sgd.py', 'relu_nn.py', 'nn_overfit.py', 'deep_nn.py']
SHORT = ' --batch-size 50 --steps 101 --report-every 50'
STEP_LINE = re.compile(
    r'step +\d+/\d+  epoch +\d+\.\d\d  minibatch loss \d+\.\d{4}( = \d+\.\d{4} \+ l2 \d+\.\d{4})?  '
    r'minibatch accuracy +[\d.]+%  validation accuracy +[\d.]+%  lr \d\.\d{4}  \d+\.\ds$')
TEST_LINE = re.compile(
    r'Test accuracy: (\d+\.\d)% \((\d+)/(\d+)\)  best validation \d+\.\d% at step \d+  seed \d+$')


def short(shapes, lesson, more=''):
    """The command of a short run of a lesson on the small data set."""
    offsets = ' --offset-range 200' if lesson == 'nn_overfit.py' else ''
    return '%s --data %s%s%s %s' % (lesson, shapes, SHORT, offsets, more)


def without_times(log):
    """A log less the seconds at the ends of its lines."""
    return re.sub(r' +[\d.]+s$', '', log, flags=re.M)


@pytest.mark.parametrize('lesson', LESSONS)
def test_log_and_quiet_stderr_from_another_folder(lesson, shapes, tmp_path):
    run = run_lesson(short(shapes, lesson), cwd=tmp_path)
    assert (run.returncode, run.stderr) == (0, '')
    first, *steps, last = run.stdout.splitlines()
    assert re.match(r'%s  data .*shapes\.npz \(600/200/200 images\)  seed 42  TensorFlow \d+\.'
                    % lesson, first)
    assert '--batch-size 50' in first and '--steps 101' in first
    assert [int(re.match(r'step +(\d+)', line).group(1)) for line in steps] == [0, 50, 100]
    assert all(STEP_LINE.match(line) for line in steps)
    percent, right, total = TEST_LINE.match(last).groups()
    assert total == '200' and percent == '%.1f' % (100 * int(right) / 200)
    assert float(percent) > 60
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('lesson, more', [
    ('sgd.py', ''), ('deep_nn.py', '--layers 4 --dropout --l2 0.001 --hidden 128')])
def test_same_seed_same_log(lesson, more, shapes):
    first, second = [run_lesson(short(shapes, lesson, more)).stdout for _ in range(2)]
    other = run_lesson(short(shapes, lesson, more + ' --seed 7')).stdout
    assert without_times(first) == without_times(second)
    assert without_times(first).splitlines()[1] != without_times(other).splitlines()[1]


def test_step_0_shows_loss_and_penalty_apart(shapes):
    run = run_lesson(short(shapes, 'nn_overfit.py', '--l2 0.001'))
    total, data_loss, penalty = map(float, re.search(
        r'step +0/.* loss ([\d.]+) = ([\d.]+) \+ l2 ([\d.]+) ', run.stdout).groups())
    assert total == pytest.approx(data_loss + penalty, abs=2e-4)
    # 784 x 1024 and 1024 x 10 weights of a truncated normal's variance, 0.774, halved
    assert penalty == pytest.approx(0.001 * 0.774 / 2 * (784 * 1024 + 1024 * 10), rel=0.01)


def test_decay_shows_in_the_log(shapes):
    rates = lambda more: [float(rate) for rate in re.findall(
        r' lr ([\d.]+) ', run_lesson(short(shapes, 'deep_nn.py', more + ' --hidden 64')).stdout)]
    falling, flat = rates(''), rates('--schedule constant')
    assert falling[0] > falling[1] > falling[2]
    assert len(set(flat)) == 1


def test_target_accuracy_decides_the_exit_code(shapes):
    assert run_lesson(short(shapes, 'sgd.py', '--target-accuracy 50')).returncode == 0
    missed = run_lesson(short(shapes, 'sgd.py', '--target-accuracy 100 --steps 1'))
    assert missed.returncode == 1 and 'Test accuracy' in missed.stdout


def test_a_refusal_ends_the_process_with_code_2(tmp_path):
    for command in ('sgd.py --lr -1', 'sgd.py --data nowhere.npz'):
        run = run_lesson(command, cwd=tmp_path)
        assert (run.returncode, run.stdout, len(run.stderr.splitlines())) == (2, '', 1)
        assert run.stderr.startswith('sgd.py: ')


@pytest.mark.parametrize('command, said', [
    ('sgd.py --batch-size 601', '--batch-size'),
    ('nn_overfit.py --offset-range 1000', '--offset-range'),
])
def test_data_too_small_for_the_flags(command, said, shapes, refused):
    assert said in refused('%s --data %s' % (command, shapes))


@pytest.mark.parametrize('more, flag', [('--lr 1e30', '--lr 1e+29'), ('--l2 10', '--l2 0.2')])
def test_a_loss_that_is_not_finite_stops_the_run(more, flag, shapes, refused):
    sentence = refused(short(shapes, 'nn_overfit.py', more))
    assert re.search(r'The loss is (nan|inf) at step \d+: ', sentence)
    assert flag in sentence


def test_sorted_labels_are_said_and_shuffled_on_demand(shapes, tmp_path):
    with np.load(shapes) as file:
        arrays = dict(file)
    order = np.argsort(arrays['train_labels'], kind='mergesort')
    arrays['train_dataset'] = arrays['train_dataset'][order]
    arrays['train_labels'] = arrays['train_labels'][order]
    path = str(tmp_path / 'sorted.npz')
    formats.write(path, arrays)
    accuracy = lambda run: float(TEST_LINE.search(run.stdout.splitlines()[-1]).group(1))
    # Enough steps to end in the middle of one class.
    command = 'sgd.py --data %s --batch-size 20 --steps 12' % path
    told, mended = run_lesson(command), run_lesson(command + ' --shuffle')
    assert told.returncode == 0 and 'sorted order' in told.stderr and '--shuffle' in told.stderr
    assert mended.stderr == '' and accuracy(mended) > accuracy(told) + 20


@pytest.mark.parametrize('lesson', LESSONS)
def test_help_shows_the_defaults(lesson, monkeypatch, capsys):
    code, text, stderr = run_here(lesson + ' --help', monkeypatch, capsys)
    assert code in (0, None) and stderr == ''
    for flag in ('--data', '--steps', '--batch-size', '--lr', '--seed', '--report-every'):
        assert re.search(flag + r' [^-]*\(default: ', text), flag


def test_sgd_and_relu_nn_differ_in_the_hidden_layer_alone():
    def code(lesson):
        with open(ROOT + '/' + lesson) as file:
            return file.read().split('"""', 2)[2].splitlines()
    linear, relu = code('sgd.py'), code('relu_nn.py')
    start = [i for i, line in enumerate(linear) if line.startswith('def ')]
    relu_start = [i for i, line in enumerate(relu) if line.startswith('def ')]
    top = [line for line in relu[:relu_start[0]] if not line.startswith('HIDDEN')]
    assert top == linear[:start[0]]
    assert linear[start[1]:] == relu[relu_start[1]:]
