"""cnn.py: convolution and pooling against SciPy and NumPy; what is saved comes back, bit by bit."""
import argparse
import glob
import os
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from scipy.signal import correlate2d

import cnn
import layers
import utils
import tensorflow.compat.v1 as tf
from conftest import ROOT, run_lesson
from test_checkpoints import weights
from test_lessons import without_times

RUN = 'cnn.py --data %s --batch-size 32 --lr 0.001 --report-every 10 --steps 61 --seed 1 '


def run_alone(build):
    """The value of a tensor that build() makes in a graph of its own, variables initialised."""
    with tf.Graph().as_default():
        tf.set_random_seed(3)
        tensors = build()
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            return session.run(tensors)


def numpy_convolution(images, kernels, biases):
    """Each output feature is the sum over the depth of SciPy's correlations, and a bias."""
    return np.stack([np.stack([
        sum(correlate2d(image[:, :, d].astype(float), kernels[:, :, d, f], mode='same')
            for d in range(image.shape[-1])) + biases[f]
        for f in range(kernels.shape[-1])], axis=-1) for image in images])


def numpy_pool(images):
    """The largest of each 2 x 2 pixels; an odd last row or column is pooled by itself."""
    height, width = images.shape[1:3]
    return np.stack([np.stack([images[:, row:row + 2, column:column + 2].max((1, 2))
                               for column in range(0, width, 2)], 1)
                     for row in range(0, height, 2)], 1)


@pytest.mark.parametrize('size, depth, features', [(5, 1, 4), (3, 6, 2)])
def test_convolution_agrees_with_scipy(size, depth, features):
    images = np.random.RandomState(0).normal(size=[2, 9, 8, depth]).astype(np.float32)

    def build():
        linear = layers.conv2d_layer(tf.constant(images), size, features, None, 'linear')
        relu = layers.conv2d_layer(tf.constant(images), size, features, tf.nn.relu, 'relu')
        return [linear, relu] + tf.global_variables()

    linear, relu, kernels, biases, relu_kernels, _ = run_alone(build)
    assert kernels.shape == (size, size, depth, features) and linear.shape == (2, 9, 8, features)
    np.testing.assert_allclose(linear, numpy_convolution(images, kernels, biases), atol=1e-5)
    np.testing.assert_allclose(
        relu, np.maximum(numpy_convolution(images, relu_kernels, biases), 0), atol=1e-5)


def test_convolution_starts_as_he_et_al_say_and_refuses_a_name_twice():
    def build():
        x = tf.zeros([1, 4, 4, 16])
        layers.conv2d_layer(x, 5, 200, None, 'conv')
        with pytest.raises(ValueError, match='conv/weights'):
            layers.conv2d_layer(x, 5, 200, None, 'conv')
        return tf.global_variables()
    kernels, biases = run_alone(build)
    # cut off at two deviations, a normal keeps 0.8796 of its standard deviation
    assert kernels.std() == pytest.approx(0.8796 * np.sqrt(2 / (5 * 5 * 16)), rel=0.01)
    assert not biases.any()


@pytest.mark.parametrize('height, width', [(6, 8), (7, 5)])
def test_pooling_agrees_with_numpy(height, width):
    images = np.random.RandomState(1).normal(size=[3, height, width, 2]).astype(np.float32) - 9
    assert (run_alone(lambda: layers.max_pool(tf.constant(images))) == numpy_pool(images)).all()


def test_batch_norm_of_images_normalizes_each_feature():
    images = np.random.RandomState(2).normal(3, 5, size=[4, 6, 5, 3]).astype(np.float32)
    mean, variance = images.mean((0, 1, 2)), images.var((0, 1, 2))

    def build():
        trained = layers.batch_norm(tf.constant(images), tf.constant(True), 0.9)
        updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
        moving = tf.global_variables()[2:4]
        with tf.control_dependencies(updates):
            return trained, [m.read_value() for m in moving]

    trained, (moving_mean, moving_variance) = run_alone(build)
    np.testing.assert_allclose(trained, (images - mean) / np.sqrt(variance + 1e-3), atol=1e-4)
    np.testing.assert_allclose(moving_mean, 0.1 * mean, rtol=1e-4)
    np.testing.assert_allclose(moving_variance, 0.9 + 0.1 * variance, rtol=1e-4)


# -------------------------------------------------------------------------------- the whole network

def flags(**changed):
    """The flags that build_graph reads, for a small batch."""
    values = dict(seed=1, batch_size=32, lr=0.001, steps=61, deeper=False, tuned=False, keep=3)
    return argparse.Namespace(**dict(values, **changed))


def a_session(shapes, **changed):
    """A net on the shapes and its session, initialised."""
    data = utils.load(shapes)
    net = cnn.build_graph(flags(**changed), data)
    session = utils.session(net.graph)
    session.run(net.init)
    return net, data, session


def numpy_forward(parameters, x, convolutions):
    """The logits of the note's network in float64."""
    hidden, parameters = x.reshape(-1, 28, 28, 1) + 0.5, [p.astype(float) for p in parameters]
    for _ in range(convolutions):
        kernels, biases, parameters = parameters[0], parameters[1], parameters[2:]
        hidden = numpy_pool(np.maximum(numpy_convolution(hidden, kernels, biases), 0))
    hidden = hidden.reshape(len(x), -1)
    hidden = np.maximum(hidden.dot(parameters[0]) + parameters[1], 0)
    return hidden.dot(parameters[2]) + parameters[3]


@pytest.mark.parametrize('deeper', [False, True])
def test_the_network_agrees_with_numpy_and_adam_takes_its_step(deeper, shapes):
    net, data, session = a_session(shapes, deeper=deeper)
    x, y = data.train.images[:2], data.train.labels[:2]
    with session:
        shape = [v.shape.as_list() for v in net.variables]
        assert shape[:4] == [[5, 5, 1, 16], [16], [5, 5, 16, 36], [36]]
        assert shape[-4:-2] == ([[1024, 128], [128]] if deeper else [[1764, 128], [128]])
        random = np.random.RandomState(0)
        for v in net.variables[1::2]:  # biases start at 0, where no mistake would show
            v.load(random.uniform(-0.1, 0.1, v.shape.as_list()), session)
        before = session.run(net.variables)
        logits = numpy_forward(before, x, 3 if deeper else 2)
        np.testing.assert_allclose(session.run(net.logits, {net.x: x}), logits, atol=1e-4)
        log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        loss, _ = session.run([net.loss, net.train_op], {net.x: x, net.y: y})
        assert loss == pytest.approx(-(y * log_p).sum(1).mean(), rel=1e-4)
        # Adam's first step: the rate against the sign of the gradient, whatever its size.
        after, wrong = session.run(net.variables), (np.exp(log_p) - y).mean(0)
        np.testing.assert_allclose(after[-1] - before[-1], -0.001 * np.sign(wrong), rtol=0.01)


def test_prediction_in_batches_is_prediction_at_once(shapes):
    net, data, session = a_session(shapes, tuned=True)
    images = np.concatenate([data.train.images, data.valid.images])          # 800: three and a bit
    with session:
        at_once = session.run(net.predictions, {net.x: images})
        assert (utils.predict(session, net, images, cnn.PREDICTED_AT_ONCE) == at_once).all()


def test_rows_of_the_confusion_matrix_sum_to_the_class_counts():
    random = np.random.RandomState(0)
    truth, predictions = random.randint(0, 9, [2, 500])  # no image of class 9
    counts = utils.confusion(truth, predictions)
    assert counts.shape == (10, 10) and (counts.sum(1) == np.bincount(truth, minlength=10)).all()
    assert counts[3, 7] == np.sum((truth == 3) & (predictions == 7))


# ------------------------------------------------------------------------------- runs as a reader's

@pytest.fixture
def here(monkeypatch, capsys):
    """Run a command in this process, which saves TensorFlow's start: code, stdout, stderr."""
    def run(command):
        monkeypatch.setattr(sys, 'argv', command.split())
        with pytest.raises(SystemExit) as end:
            utils.run(cnn.main)
        return (end.value.code,) + tuple(capsys.readouterr())
    return run


def steps_and_results(log):
    """The lines that a run is judged by, less their times."""
    return [line for line in without_times(log).splitlines() if re.match(r'[* ] step |Test ', line)]


def story(log):
    """Correct test images at random, trained, forgotten, restored."""
    return [int(re.search(r'^%s +test accuracy .*\((\d+)/200\)' % moment, log, re.M).group(1))
            for moment in ('At random', 'Trained', 'Forgotten', 'Restored')]


def matrix(log):
    """The confusion matrix as printed."""
    return np.array([row.split() for row in re.findall(r'^ ?\[+([\d ]+)\]+$', log, re.M)], int)


@pytest.fixture(scope='module')
def kept(shapes, tmp_path_factory):
    """A run that keeps its checkpoints and draws: the process, and the folder."""
    folder = tmp_path_factory.mktemp('kept')
    command = RUN + '--keep 2 --checkpoint %s --plot %s'
    return run_lesson(command % (shapes, folder / 'run', folder / 'plot')), folder


def test_one_run_tells_the_whole_story(kept, shapes):
    run, _ = kept
    assert (run.returncode, run.stderr) == (0, '')
    random, trained, forgotten, restored = story(run.stdout)
    assert random <= 50 and forgotten <= 50 and trained >= 180 and restored >= 180
    lines = re.findall(r'^([* ]) step +(\d+)/60 .* validation accuracy +([\d.]+)%', run.stdout,
                       re.M)
    best, best_step = -1.0, None
    for star, step, validation in lines:  # 200 images: half a percent each, so no two print alike
        assert (star == '*') == (float(validation) > best)
        if star == '*':
            best, best_step = float(validation), step
    assert [int(step) for _, step, _ in lines] == list(range(0, 61, 10))
    again, saved, at = re.search(r'^Validation accuracy ([\d.]+)%, and ([\d.]+)% when it was saved '
                                 r'at step (\d+)$', run.stdout, re.M).groups()
    assert again == saved and float(saved) == best and at == best_step
    assert 'Test accuracy: %.1f%% (%d/200)' % (restored / 2, restored) in run.stdout
    counts = matrix(run.stdout)
    assert np.trace(counts) == restored
    assert (counts.sum(1) == utils.load(shapes).test.labels.sum(0)).all()


def test_pictures_and_checkpoints_are_files(kept):
    run, folder = kept
    assert sorted(os.listdir(str(folder / 'plot'))) == [
        'confusion_matrix.png', 'conv1.png', 'conv2.png', 'learning_curves.png',
        'nine_examples.png', 'wrong_examples.png']
    step = int(re.search(r'best validation .* at step (\d+)', run.stdout).group(1))
    assert [os.path.basename(p) for p in sorted(glob.glob(str(folder / 'run/latest/*.index')))] == [
        'model-51.index', 'model-61.index']
    assert [os.path.basename(p) for p in glob.glob(str(folder / 'run/best/*.index'))] == [
        'model-%d.index' % (step + 1)]


def test_another_process_predicts_the_same(kept, shapes):
    run, folder = kept
    net, data, session = a_session(shapes)
    with session:
        cnn.restore(session, net, 'best', str(folder / 'run'))
        predictions = utils.predict(session, net, data.test.images)
    assert (utils.confusion(data.test.labels.argmax(1), predictions) == matrix(run.stdout)).all()


def test_a_finished_run_resumed_trains_no_more_and_ends_alike(kept, shapes):
    run, folder = kept
    again = run_lesson((RUN + '--checkpoint %s --resume') % (shapes, folder / 'run'))
    assert (again.returncode, again.stderr) == (0, '')
    assert 'Going on from step 61, from the latest checkpoint' in again.stdout
    assert ' step ' not in again.stdout.split('checkpoint\n')[1].split('Trained')[0]
    assert story(again.stdout) == story(run.stdout)
    assert (matrix(again.stdout) == matrix(run.stdout)).all()


def test_stopped_and_resumed_is_never_stopped(shapes, tmp_path, here):
    command = RUN % shapes + '--tuned --steps 81 --keep 2 --checkpoint '  # all that remembers
    code, whole, errors = here(command + str(tmp_path / 'whole'))
    assert (code, errors) == (0, '')
    process = subprocess.Popen(
        [sys.executable, '-u', ROOT + '/' + command.split()[0]] + command.split()[1:]
        + [str(tmp_path / 'parts')], stdout=subprocess.PIPE, universal_newlines=True)
    for line in process.stdout:
        if ' step 20/' in line:
            process.send_signal(signal.SIGINT)
            break
    out = process.communicate()[0]
    assert process.returncode == 130 and 'the same command with --resume goes on.' in out
    code, parts, errors = here(command + str(tmp_path / 'parts') + ' --resume')
    assert (code, errors) == (0, '')
    tail = steps_and_results(parts)
    assert 2 <= len(tail) < 10 and steps_and_results(whole)[-len(tail):] == tail
    assert story(whole) == story(parts)
    for kind in ('latest', 'best'):
        one, other = (weights(tmp_path / name / kind) for name in ('whole', 'parts'))
        assert sorted(one) == sorted(other)
        assert all((one[name] == other[name]).all() for name in one)
        assert len(glob.glob(str(tmp_path / 'parts' / kind / '*.index'))) == (
            2 if kind == 'latest' else 1)  # the first process's files are not left behind


def test_early_stopping_waits_so_many_steps_and_patience_longer(kept, shapes, tmp_path, here):
    standing = RUN % shapes + '--lr 1e-9 '  # nothing is learnt
    code, out, _ = here(standing + '--early-stopping 20 --steps 100')
    best = int(re.search(r'no better validation accuracy since step (\d+)$', out, re.M).group(1))
    steps = [int(step) for step in re.findall(r'^[* ] step +(\d+)/', out, re.M)]
    assert code == 0 and max(steps) == best + 20
    # From the best checkpoint of the kept run: as many steps again, although 10 would do.
    run, folder = kept
    shutil.copytree(str(folder / 'run'), str(tmp_path / 'copy'))
    code, out, _ = here(standing + '--early-stopping 10 --patience 1 --steps 1000 --checkpoint %s '
                        '--resume best' % (tmp_path / 'copy'))
    best = int(re.search(r'best validation .* at step (\d+)', run.stdout).group(1))
    assert code == 0 and 'Going on from step %d, from the best checkpoint' % (best + 1) in out
    steps = [int(step) for step in re.findall(r'^[* ] step +(\d+)/', out, re.M)]
    assert max(steps) == 2 * best


# ----------------------------------------------------------------------------------------- refusals

@pytest.mark.parametrize('there, here, differs', [
    ({}, {'deeper': True}, 'conv3/biases is absent there and [64] here'),
    ({}, {'tuned': True}, 'conv1/batch_norm/beta is absent there and [16] here'),
    ({'tuned': True}, {}, 'conv1/batch_norm/beta is [16] there and absent here'),
    ({'deeper': True}, {}, 'full/weights is [1024, 128] there and [1764, 128] here')])
def test_another_network_is_refused_with_what_differs(there, here, differs, shapes, tmp_path):
    net, _, session = a_session(shapes, **there)
    with session:
        cnn.save(session, net, 'best', str(tmp_path))
    net, _, session = a_session(shapes, **here)
    with session, pytest.raises(utils.Refused) as refusal:
        cnn.restore(session, net, 'best', str(tmp_path))
    assert differs in str(refusal.value)
    assert 'is of another network' in str(refusal.value) and 'Adam' not in str(refusal.value)


def test_other_images_and_damaged_files_are_refused(shapes, tmp_path):
    net, data, session = a_session(shapes)
    with session:
        cnn.save(session, net, 'best', str(tmp_path))
        net.best.images.load(1, session)  # as if the net stood on other data
        with pytest.raises(utils.Refused, match='validated on other images'):
            cnn.restore(session, net, 'best', str(tmp_path))
        values = glob.glob(str(tmp_path / 'best/*.data*'))[0]
        with open(values, 'r+b') as file:
            file.truncate(1000)
        with pytest.raises(utils.Refused, match='give another folder'):
            cnn.restore(session, net, 'best', str(tmp_path))


def test_mnist_is_the_default_and_where_it_is_not_prepared_a_sentence_says_how(
        monkeypatch, tmp_path, here):
    monkeypatch.setattr(utils.formats, 'HERE', str(tmp_path))
    code, out, errors = here('cnn.py')
    assert (code, out) == (2, '')
    assert 'python -m data.mnist' in errors and errors.count('\n') == 1


def test_refusals_are_one_sentence_with_exit_code_2(kept, shapes, here):
    _, folder = kept
    for extra, sentence in (
            ('--checkpoint %s' % (folder / 'run'), 'add --resume to go on from it'),
            ('--checkpoint %s --resume --deeper' % (folder / 'run'), 'is of another network'),
            ('--resume', 'name it with --checkpoint'),
            ('--patience --early-stopping 0', '--patience has nothing to wait for'),
            ('--tuned --batch-size 1', 'give a larger --batch-size'),
            ('--early-stopping 5', 'a smaller --report-every')):
        code, out, errors = here(RUN % shapes + extra)
        assert code == 2 and sentence in errors and errors.count('\n') == 1
        assert ' step ' not in out


# ----------------------------------------------------------------------------- minutes: the figures

@pytest.mark.slow
def test_mnist_with_the_settings_of_the_note():
    if not os.path.exists(ROOT + '/data/mnist.npz'):
        pytest.skip('MNIST has not been made: python -m data.mnist')
    assert run_lesson('cnn.py --seed 1 --target-accuracy 98.2').returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize('data, floor', [('mnist', 99.3), ('letters', 97.0)])
def test_tuned(data, floor):
    if data == 'mnist' and not os.path.exists(ROOT + '/data/mnist.npz'):
        pytest.skip('MNIST has not been made: python -m data.mnist')
    assert run_lesson('cnn.py --tuned --data %s --seed 1 --target-accuracy %g' % (
        data, floor - 0.1)).returncode == 0
