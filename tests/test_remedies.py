"""deep_nn.py's flags: what each does to the graph, to the weights, to a run."""
import re

import numpy as np
import pytest

import deep_nn
import utils
from conftest import run_lesson
from test_networks import BATCH, flags, numpy_network
from test_lessons import short, without_times


def first_step(split, steps=1, **changed):
    """Weights before and after so many steps, as lists of arrays, and the net."""
    net = deep_nn.build_graph(flags(**changed), split)
    with utils.session(net.graph) as session:
        session.run(net.init)
        before = session.run(net.variables)
        for _ in range(steps):
            session.run(net.train_op, {net.training: True})
        return before, session.run(net.variables), net


def test_clipping_cuts_each_gradient(split):
    before, after, _ = first_step(split, clip=0.01)
    _, _, gradients = numpy_network(before, split.images[:BATCH], split.labels[:BATCH])
    assert max(np.abs(g).max() for g in gradients) > 0.01  # there is something to cut
    for old, new, gradient in zip(before, after, gradients):
        assert old - new == pytest.approx(0.5 * np.clip(gradient, -0.01, 0.01), abs=1e-6)


def test_l1_pulls_each_weight_by_the_same(split):
    plain, penalised = [first_step(split, l1=l1) for l1 in (0.0, 0.001)]
    for start, without, with_it in list(zip(plain[0], plain[1], penalised[1]))[::2]:
        assert without - with_it == pytest.approx(0.5 * 0.001 * np.sign(start), abs=1e-6)
    for without, with_it in list(zip(plain[1], penalised[1]))[1::2]:  # biases are let be
        assert np.array_equal(without, with_it)


def test_max_norm_holds_every_unit(split):
    _, free, _ = first_step(split, steps=30)
    _, held, _ = first_step(split, steps=30, max_norm=1.0)
    norms = lambda values: [np.linalg.norm(w, axis=0).max() for w in values[::2]]
    assert max(norms(free)) > 1.1 and max(norms(held)) <= 1.0001


def test_batch_norm_uses_its_moving_moments_in_evaluation(split):
    net = deep_nn.build_graph(flags(batch_norm=True, lr=0.1), split)
    with utils.session(net.graph) as session:
        session.run(net.init)
        for _ in range(30):
            session.run(net.train_op, {net.training: True})
        alone = session.run(net.logits, {net.x: split.images[:1]})
        company = session.run(net.logits, {net.x: split.images[:20]})
        assert company[:1] == pytest.approx(alone, abs=1e-4)
        feed = {net.x: split.images[:20], net.training: True}
        assert np.abs(session.run(net.logits, feed)[:1] - alone).max() > 0.01
        moments = [v for v in net.variables if 'moving' in v.name]
        assert len(moments) == 2 * 5
        assert all(np.abs(session.run(v)).max() > 0 for v in moments)


def test_standardised_inputs(split):
    net = deep_nn.build_graph(flags(standardise=True, layers=2), split)
    with utils.session(net.graph) as session:
        session.run(net.init)
        w1, b1, w2, b2 = session.run(net.variables)
        x = (split.images - split.images.mean(0)) / (split.images.std(0) + 0.05)
        expected = np.maximum(x @ w1 + b1, 0) @ w2 + b2
        assert session.run(net.logits, {net.x: split.images}) == pytest.approx(expected, abs=1e-4)


def test_label_smoothing_in_the_loss(split):
    net = deep_nn.build_graph(flags(label_smoothing=0.1), split)
    with utils.session(net.graph) as session:
        session.run(net.init)
        logits, losses, y = session.run([net.logits, net.losses, net.y])
        log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        expected = -((0.9 * y + 0.01) * log_p).sum(1).mean()
        assert losses['cross entropy'] == pytest.approx(expected, rel=1e-5)


def test_input_dropout_and_augmentation_act_in_training_alone(split):
    for changed in ({'input_dropout': 0.8}, {'augment': 1.0}):
        net = deep_nn.build_graph(flags(**changed), split)
        with utils.session(net.graph) as session:
            session.run(net.init)
            x, y = split.images[:BATCH], split.labels[:BATCH]
            fed = session.run(net.losses, {net.x: x, net.y: y})['cross entropy']
            assert fed == session.run(net.losses, {net.x: x, net.y: y})['cross entropy']
            trained = session.run(net.losses, {net.training: True})['cross entropy']
            assert abs(trained - fed) > 1e-4
            if 'augment' in changed:  # the minibatch is changed, and never twice in the same way
                first = session.run(net.x)
                session.run(net.train_op, {net.training: True})
                net.step.load(0, session)
                assert np.array_equal(session.run(net.x), first)
                assert not np.allclose(first, x)


@pytest.mark.parametrize('activation, init', [
    ('relu', 'he'), ('elu', 'he'), ('sigmoid', 'xavier'), ('tanh', 'xavier'), ('selu', 'lecun')])
def test_the_start_suits_the_activation(activation, init, split):
    net = deep_nn.build_graph(flags(activation=activation, hidden=1024), split)
    variance = {'he': 2 / 784, 'xavier': 2 / (784 + 1024), 'lecun': 1 / 784}[init]
    with utils.session(net.graph) as session:
        session.run(net.init)
        stddev = session.run(net.variables[0]).std()
    assert stddev == pytest.approx(0.8796 * variance ** 0.5, rel=0.01)


def test_gradients_vanish_in_deep_sigmoid_nets_and_batch_norm_mends_it(split):
    def shrinks(**changed):
        net = deep_nn.build_graph(flags(layers=10, activation='sigmoid', **changed), split)
        with utils.session(net.graph) as session:
            session.run(net.init)
            norms = session.run(net.norms, {net.training: True})
            assert len(norms) == 10
            return norms[-1] / norms[0]
    assert shrinks() > 1e3 > 30 > shrinks(batch_norm=True)


def test_default_dnn_is_the_configuration_of_the_notes(shapes):
    run = run_lesson(short(shapes, 'deep_nn.py', '--default-dnn --hidden 64 --layers 3'))
    spelled = run_lesson(short(shapes, 'deep_nn.py', '--init he --activation elu --batch-norm '
                               '--dropout 0.5 --optimizer adam --schedule constant --hidden 64 '
                               '--layers 3'))
    assert run.returncode == 0 and ' lr 0.0010 ' in run.stdout
    assert without_times(run.stdout).splitlines()[1:] == (
        without_times(spelled.stdout).splitlines()[1:])
    other = run_lesson(short(shapes, 'deep_nn.py', '--default-dnn --activation relu --hidden 64 '
                             '--layers 3'))
    assert other.stdout.splitlines()[2] != run.stdout.splitlines()[2]


def test_clipping_rescues_a_learning_rate_that_diverges(shapes):
    wild = run_lesson(short(shapes, 'deep_nn.py', '--lr 20 --layers 4 --hidden 64'))
    tamed = run_lesson(short(shapes, 'deep_nn.py', '--lr 20 --layers 4 --hidden 64 --clip 0.001'))
    right = lambda run: float(re.search(r'Test accuracy: ([\d.]+)%', run.stdout).group(1))
    assert wild.returncode == 2 or right(wild) < 40
    assert tamed.returncode == 0 and right(tamed) > 80


def test_early_stopping_stops_and_keeps_the_best(shapes):
    command = short(shapes, 'deep_nn.py', '--layers 3 --hidden 64 --steps 5001 '
                    '--early-stopping 100')
    run = run_lesson(command)
    assert run.returncode == 0
    steps = [(int(step), float(valid)) for step, valid in re.findall(
        r'^step +(\d+)/.*validation accuracy +([\d.]+)%', run.stdout, re.M)]
    best, at = re.search(r'best validation ([\d.]+)% at step (\d+)', run.stdout).groups()
    assert steps[-1][0] < 5000 and steps[-1][0] - int(at) == 100
    assert float(best) == max(valid for _, valid in steps)
    assert 'Early stopping: no better validation accuracy since step %s\n' % at in run.stdout


@pytest.mark.parametrize('more, said', [
    ('--activation selu --standardise --batch-norm', 'leave out --batch-norm'),
    ('--activation selu', 'add --standardise'),
    ('--batch-norm --batch-size 1', '--batch-size'),
    ('--early-stopping 10 --report-every 20', '--early-stopping'),
    ('--resume', '--checkpoint'),
    ('--activation swish', '--activation'),
    ('--optimizer lion', '--optimizer'),
    ('--schedule never', '--schedule'),
    ('--init zeros', '--init'),
    ('--clip 0', '--clip'),
    ('--max-norm -1', '--max-norm'),
    ('--l1 -1', '--l1'),
    ('--input-dropout 0', '--input-dropout'),
    ('--label-smoothing 1', '--label-smoothing'),
    ('--augment -1', '--augment'),
    ('--early-stopping 0', '--early-stopping'),
    ('--gpu-memory 2', '--gpu-memory'),
    ('--plot README.md', '--plot'),
    ('--logdir README.md', '--logdir'),
    ('--checkpoint README.md', '--checkpoint'),
])
def test_nonsense_is_refused_in_one_sentence(more, said, refused):
    assert said in refused('deep_nn.py ' + more)


def test_gpu_memory_says_and_changes_nothing_without_a_gpu(shapes):
    command = short(shapes, 'deep_nn.py', '--layers 3 --hidden 32')
    plain, share = run_lesson(command), run_lesson(command + ' --gpu-memory 0.5')
    assert share.stderr == ''
    assert without_times(share.stdout).splitlines()[1:] == (
        without_times(plain.stdout).splitlines()[1:])


def test_plots_and_tensorboard(shapes, tmp_path):
    from tensorboard.backend.event_processing import event_accumulator
    run = run_lesson(short(shapes, 'deep_nn.py', '--layers 3 --hidden 64 --l2 0.001 --plot %s '
                           '--logdir %s' % (tmp_path / 'plots', tmp_path / 'board')))
    assert (run.returncode, run.stderr) == (0, '')
    names = ['confusion_matrix', 'first_layer', 'learning_curves', 'wrong_examples']
    assert sorted(path.name for path in (tmp_path / 'plots').iterdir()) == [
        name + '.png' for name in names]
    for path in (tmp_path / 'plots').iterdir():
        assert path.read_bytes()[:8] == b'\x89PNG\r\n\x1a\n' and path.stat().st_size > 1000
    board = event_accumulator.EventAccumulator(
        str(tmp_path / 'board'), {'scalars': 0, 'images': 0, 'histograms': 0})  # 0: all
    board.Reload()
    tags = board.Tags()
    assert tags['graph']
    for tag in ('loss/cross entropy', 'loss/l2', 'accuracy/minibatch', 'accuracy/validation',
                'learning_rate', 'epoch'):
        assert [event.step for event in board.Scalars(tag)] == [0, 50, 100], tag
    printed = [float(v) for v in re.findall(r'validation accuracy +([\d.]+)%', run.stdout)]
    written = [100 * event.value for event in board.Scalars('accuracy/validation')]
    assert written == pytest.approx(printed, abs=0.06)
    for tag in ('activations/layer1', 'activations/layer2', 'weights/layer1/weights',
                'gradients/layer1/weights', 'gradients/output/biases'):
        assert len(board.Histograms(tag)) == 3, tag
    for tag in ('examples/image', 'mistakes/image', 'first_layer/image'):
        assert len(board.Images(tag)) == 3, tag
