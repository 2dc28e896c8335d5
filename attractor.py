"""A chaotic attractor, learnt by a 1-d convolution and by an LSTM, then left to run by itself.

Notes 3: to solve a differential equation step by step is much like what a recurrent network does,
and both kinds of network can rebuild a chaotic attractor. Here each learns where the three-scroll
system is one sample later, and is then fed with its own answers. An error grows e-fold in each
Lyapunov time, so nobody forecasts for long; but a good model stays on the attractor. First comes
the notes' demonstration: one convolution that is a moving average and a sum.

    python attractor.py                               both networks
    python attractor.py --model lstm --layers 2       two LSTM layers alone
    python attractor.py --plot pictures --logdir board   and TensorBoard, with the series as sound

Medians of 20 runs, seeds 1 to 3 (TensorFlow 2.21, 2 shared cores, 200 s of CPU time): conv1d has a
horizon of 3.08, 3.32, 2.59 Lyapunov times and stays on the attractor in 18, 20, 17 runs; lstm of
1.01, 0.79, 1.38 and 17, 16, 20. "Tomorrow = today" errs 2,100 to 4,300, 360 to 400 times more.
"""
import time
from types import SimpleNamespace

import utils  # before TensorFlow: keeps its start-up chatter off the screen
import numpy as np
import tensorflow.compat.v1 as tf

import dynamics
import layers
import summaries

# ---------------------------------------------------------------------------------- constants
SAMPLE = 0.0025          # seconds between two samples: the fastest loops take 25 of them
ORBITS = 60              # to learn from, each
SAMPLES = 21000          # samples long
STARTS = 20              # of free runs, each with a true orbit of its own to compare with
FREE = 50                # Lyapunov times that a free run takes
STEPS = {'conv1d': 30000, 'lstm': 10000}  # updates, each from BATCH_SIZE pieces of orbits
BATCH_SIZE = {'conv1d': 16, 'lstm': 128}
LENGTH = {'conv1d': 128, 'lstm': 16}      # samples in a piece: a convolution has no end to wait for
LEARNING_RATE = 0.003    # of Adam, at the start; it falls to 0 along a cosine
NOISE = {'conv1d': 5e-6, 'lstm': 3e-4}    # added to what is fed in training: see build_graph
KERNEL = 2               # neighbours that the convolution sees: f(x_t, x_t-1)
FEATURES = 32            # of each convolution
UNITS = 64               # in an LSTM layer
LAYERS = 1               # of LSTM
WARM_UP = 8              # true samples that a free run is fed with first
RATE = 8000              # samples a second of the series as sound: loops at some 300 Hz
SEED = 42
# ---------------------------------------------------------------------------------------------


def moving_average():
    """The notes' convolution of 1,000 ones, by 1/3 1/3 1/3 and by 1 1 1: float32 [1, 1000, 2]."""
    with tf.Graph().as_default(), tf.Session() as session:
        kernel = np.stack([np.full([3, 1], 1 / 3), np.ones([3, 1])], axis=2)  # [3, 1, 2]
        ones = tf.ones([1, 1000, 1])
        return session.run(tf.nn.conv1d(ones, kernel.astype(np.float32), stride=1, padding='SAME'))


def conv1d_net(x, typical):
    """From x, float32 [batch, length, 3], what follows each but the first, [batch, length - 1, 3].

    typical: how far a step goes, float32 [3]. The equations multiply coordinates: a product of two
    convolutions does that exactly, and a product of such products is of the fourth degree.
    """
    def product(x, kernel_size, name):
        first, second = [layers.conv1d_layer(x, kernel_size, FEATURES, None, '%s_%d' % (name, i))
                         for i in (1, 2)]
        return first * second                                        # [batch, length, FEATURES]
    second = product(x, KERNEL, 'degree_2')
    fourth = product(second, 1, 'degree_4')
    step = layers.conv1d_layer(tf.concat([second, fourth], 2), 1, 3, None, 'step')
    # Position t has seen x_t and x_t+1, and tells x_t+2; the last one has seen the padding.
    return x[:, KERNEL - 1:] + typical * step[:, :1 - KERNEL]               # [batch, length - 1, 3]


def lstm_net(x, memory, typical):
    """One step: x is float32 [batch, 3], memory [layers, 2, batch, UNITS]; the next x, memory."""
    hidden, memories = x, []
    for layer in range(int(memory.shape[0])):
        hidden, state = layers.lstm_cell(hidden, memory[layer], 'lstm_%d' % layer)
        memories.append(tf.stack(state))
    step = layers.full_layer(hidden, 3, None, 'step')
    return x + typical * step, tf.stack(memories)                            # [batch, 3]


def build_graph(model, series, flags):
    """Describe training and one step of a free run; series is float32 [orbits, samples, 3]."""
    graph = tf.Graph()
    with graph.as_default():
        tf.set_random_seed(flags.seed)
        step = tf.train.get_or_create_global_step()  # counted up by the optimizer
        typical = np.diff(series, axis=1).std((0, 1))                        # [3]
        steps, batch, length = flags.steps or STEPS[model], BATCH_SIZE[model], LENGTH[model]

        with tf.name_scope('minibatch'):
            samples = utils.resident(series.reshape(-1, 3))
            first = (tf.random_uniform([batch], 0, series.shape[1] - length, tf.int32)
                     + series.shape[1] * tf.random_uniform([batch], 0, len(series), tf.int32))
            piece = tf.gather(samples, first[:, None] + tf.range(length + 1))  # [.., length + 1, 3]
            # Noise makes a net mend an error of its own, which it will have to when it runs freely.
            fed = piece[:, :-1] + NOISE[model] * tf.random_normal([batch, length, 3])
        x = tf.placeholder(tf.float32, [None, 3], name='x')                  # the newest state
        if model == 'conv1d':
            shape = lambda count: [count, KERNEL - 1, 3]                     # the states before it
            memory = tf.placeholder(tf.float32, shape(None), name='memory')
            with tf.variable_scope(model):
                predictions = conv1d_net(fed, typical)                      # [batch, length - 1, 3]
            with tf.variable_scope(model, reuse=True):
                window = tf.concat([memory, x[:, None]], 1)
                following, kept = conv1d_net(window, typical)[:, 0], window[:, 1:]
        else:
            shape = lambda count: [flags.layers, 2, count, UNITS]
            memory = tf.placeholder(tf.float32, shape(None), name='memory')
            state, predictions = tf.zeros(shape(batch)), []
            with tf.variable_scope(model) as scope:
                for time_step in range(length):
                    if time_step > 0:
                        scope.reuse_variables()  # each step is the same net, further on
                    prediction, state = lstm_net(fed[:, time_step], state, typical)
                    predictions.append(prediction)
                following, kept = lstm_net(x, memory, typical)
            predictions = tf.stack(predictions[WARM_UP // 2:], 1)        # it has to see a few first
        with tf.name_scope('loss'):
            truth = piece[:, -int(predictions.shape[1]):]
            loss = tf.reduce_mean(tf.square((predictions - truth) / typical))
        with tf.name_scope('train'):
            share = tf.cast(step, tf.float32) / steps
            learning_rate = flags.lr * layers.SCHEDULES['cosine'](share)
            train_op = tf.train.AdamOptimizer(learning_rate).minimize(loss, global_step=step)
        return SimpleNamespace(
            graph=graph, model=model, steps=steps, loss=loss, learning_rate=learning_rate, x=x,
            train_op=train_op, memory=memory, memory_shape=shape, kept=kept,
            following=tf.clip_by_value(following, -100.0, 100.0),  # one that leaves stays a number
            init=[tf.global_variables_initializer(), tf.local_variables_initializer()])


def run(session, net, true, samples):
    """Feed true states [n, known, 3], then the net's own answers; all answers, [n, samples, 3]."""
    memory, answers = np.zeros(net.memory_shape(len(true)), np.float32), []
    for i in range(samples):
        x = true[:, i] if i < true.shape[1] else answers[-1]
        answer, memory = session.run([net.following, net.kept], {net.x: x, net.memory: memory})
        answers.append(answer)
    return np.stack(answers, 1)


def train(net, true, flags, board):
    """Train, then run freely from true orbits [STARTS, samples, 3]; returns errors, free runs."""
    with utils.session(net.graph) as session:
        session.run(net.init)
        start = time.time()
        for step in range(net.steps):
            if step % flags.report_every and step < net.steps - 1:
                session.run(net.train_op)      # nothing is fetched, so nothing is waited for
                continue
            _, loss, rate = session.run([net.train_op, net.loss, net.learning_rate])
            print('%-6s  step %5d/%d  loss %.2e  lr %.6f  %.1fs' % (
                net.model, step, net.steps - 1, loss, rate, time.time() - start), flush=True)
            if not np.isfinite(loss):
                raise utils.Refused('The loss is %s at step %d: the learning rate of %g is too '
                                    'large; try --lr %g.' % (loss, step, flags.lr, flags.lr / 10))
            if board:
                board.add_summary(tf.Summary(value=[
                    tf.Summary.Value(tag=net.model + '/loss', simple_value=loss)]), step)
        count = min(999, true.shape[1] - 1)    # forecasts of one step, each from the truth
        errors = (run(session, net, true, count) - true[:, 1:count + 1])[:, WARM_UP:]
        free = run(session, net, true[:, :WARM_UP], true.shape[1] - 1)
        return errors, free[:, WARM_UP - 1:]


def judge(model, true, errors, free, exponent, reference, bound):
    """Print what a model is worth; returns the median horizon in Lyapunov times."""
    size = lambda difference: float(np.sqrt(np.mean(difference ** 2)))
    print('%-6s  one-step error %.6f  tomorrow = today %.6f' % (
        model, size(errors), size(np.diff(true, axis=1))))
    times = dynamics.horizons(free, true[:, WARM_UP:]) * SAMPLE * exponent   # [STARTS]
    print('%-6s  horizon %.2f Lyapunov times in the median of %d starts, quartiles %.2f %.2f' % (
        (model, np.median(times), len(times)) + tuple(np.percentile(times, [25, 75]))))
    typical = np.diff(true, axis=1).std((0, 1))
    distances = [dynamics.distance(dynamics.profile(one[None], typical), reference) for one in free]
    print('%-6s  free runs on the attractor for %d Lyapunov times: %d of %d  '
          'distance %.3f in the median, %.3f at most' % (
              model, FREE, np.sum(np.array(distances) <= bound), len(free), np.median(distances),
              max(distances)), flush=True)
    return np.median(times)


def main():
    parser, number = utils.Parser(__doc__), utils.number
    parser.table([
        ('--model', 'both', None, ('conv1d', 'lstm', 'both'), 'what to train'),
        ('--layers', LAYERS, None, number(int, 1, 10), 'of LSTM'),
        ('--steps', None, None, number(int, 1), 'training steps (default: %s)' % ', '.join(
            '%s %d' % pair for pair in STEPS.items())),
        ('--lr', LEARNING_RATE, None, number(float, 0, open_low=True), 'learning rate at first'),
        ('--report-every', 2500, None, number(int, 1), 'steps between two lines of the log'),
        ('--seed', SEED, None, number(int, 0, 2**31 - 1), 'of weights and minibatches'),
        ('--target-horizon', None, None, number(float, 0), 'exit with 1 if a median is lower'),
        ('--plot', None, None, utils.folder, 'draw pictures into this folder'),
        ('--logdir', None, None, utils.folder, 'write what TensorBoard shows into this folder')])
    flags = parser.parse_args()
    print('attractor.py  data %d orbits of %g s  seed %d  TensorFlow %s  %s' % (
        ORBITS, SAMPLES * SAMPLE, flags.seed, tf.__version__,
        parser.changed(flags) or 'default constants'), flush=True)
    out = moving_average()
    print('conv1d of 1,000 ones: %s, shape %s' % (' '.join(
        '%.3f' % value for value in out[0, [0, 1, 998, 999]].T.ravel()), out.shape))
    orbits = dynamics.orbits(ORBITS + STARTS, SAMPLES, SAMPLE, seed=0)       # [orbits, SAMPLES, 3]
    exponent = dynamics.three_scroll_exponent(orbits[:, -1].T)
    print('Lyapunov exponent %.3f per second: an error grows e-fold in %.3f s, %.0f samples' % (
        exponent, 1 / exponent, 1 / exponent / SAMPLE), flush=True)
    orbits = (orbits - orbits[:ORBITS].mean((0, 1))) / orbits[:ORBITS].std((0, 1))
    series, true = orbits[:ORBITS], orbits[ORBITS:, :WARM_UP + int(FREE / exponent / SAMPLE)]
    typical = np.diff(true, axis=1).std((0, 1))
    reference = dynamics.profile(series, typical)
    own = [dynamics.distance(dynamics.profile(one[None], typical), reference) for one in true]
    bound = 1.5 * max(own)
    print('distance of a true orbit from all others %.3f in the median, %.3f at most: a free run '
          'is on the attractor up to %.3f' % (np.median(own), max(own), bound), flush=True)
    board = summaries.Board(flags.logdir) if flags.logdir else None

    runs, medians = {'true': true[:, WARM_UP:]}, []
    for model in STEPS if flags.model == 'both' else [flags.model]:
        net = build_graph(model, series.astype(np.float32), flags)
        if board:
            board.add_graph(net.graph)
        errors, runs[model] = train(net, true, flags, board)
        medians.append(judge(model, true, errors, runs[model], exponent, reference, bound))
    if board:
        for name in runs:
            summaries.sound(board, name, runs[name][0, :, 0], RATE)
        board.close()
    if flags.plot:
        import plots  # not above: matplotlib takes half a second to load
        plots.attractors(flags.plot, runs)
        plots.forecasts(flags.plot, runs, SAMPLE * exponent)
    return int(min(medians) < (flags.target_horizon or 0))


if __name__ == '__main__':
    utils.run(main)
