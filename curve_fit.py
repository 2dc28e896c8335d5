"""A polynomial through six points by gradient descent: overfitting, learning rate, batch size.

Notes 3, on the choice of parameters. With N = 6 terms the curve can pass through all six points,
and leaves them far behind outside; with N = 3 it cannot, and stays near. This task has an exact
answer, least squares, so one can see how far gradient descent still is from it; and on this task
one can see what learning rates do: 500 explodes, 5e-15 does nothing.

    python curve_fit.py                               both fits, then the learning rates
    python curve_fit.py --plot pictures               the same, drawn
    python curve_fit.py --terms 6 --steps 1500000     N = 6 until 1% of the way is left
    python curve_fit.py --batch-sizes                 memory, time and noise of minibatches

Expect sums of squares of 0.000912 for N = 6 (exact: 0) and 0.833828 for N = 3 (exact: the same).
90,000 steps take 0.7 s, each command 7 to 20 s (2 CPU cores, TensorFlow 2.21). The last one gives
the memory of a step's tensors at its peak, without weights, data set and TensorFlow itself, and
the noise: the standard deviation of a minibatch's gradient over the length of the full gradient.
"""
import time
from types import SimpleNamespace

import utils  # before TensorFlow: keeps its start-up chatter off the screen
import numpy as np
import tensorflow.compat.v1 as tf

# ---------------------------------------------------------------------------------- constants
X = [-1, 0, 0.5773502691896258, 1, 1.5, 2]       # the notes' six points: five on x^3 - x, and the
Y = [0, 0, -0.3849, 0, 1.875, 4]                 # last, (2, 4), two below it
TERMS = [6, 3]           # of the polynomials: as many as there are points, and half of that
STEPS = 90000            # updates, each from all six points
LEARNING_RATE = 0.0005
REPORT_EVERY = 30000     # steps
RATES = [500, 0.5, 'edge', LEARNING_RATE, 5e-15]  # edge: just below where it starts to explode
BATCH_SIZES = [50, 100, 200, 1000]               # the notes' three, and one more
SUBSET = 10000           # training images; their gradient is the one that minibatches estimate
DRAWS = 30               # minibatches of each size, for the noise and for the time
SEED = 42                # of the weights and minibatches of --batch-sizes
# ---------------------------------------------------------------------------------------------


def forward(powers, coefficients):
    """The polynomial: powers of x, float64 [terms, points]; returns its values, [1, points]."""
    return tf.matmul(coefficients, powers)                                   # [1, points]


def build_graph(terms):
    """Describe the fit of a polynomial; one session.run makes as many updates as are fed."""
    graph = tf.Graph()
    with graph.as_default():
        # float64: the task is so badly conditioned that float32 is off by 1e-4.
        x = np.array([X], np.float64)                                        # [1, 6]
        y = np.array([Y], np.float64)                                        # [1, 6]
        powers = tf.concat([tf.pow(x, power) for power in range(terms)], 0)  # [terms, 6]
        # A resource variable is read anew in every turn of the loop below; a plain one is not.
        coefficients = tf.Variable(tf.zeros([1, terms], tf.float64), use_resource=True)
        learning_rate = tf.placeholder(tf.float64, [], name='learning_rate')
        updates = tf.placeholder(tf.int32, [], name='updates')

        def sum_of_squares():
            return tf.reduce_sum(tf.square(y - forward(powers, coefficients)))

        def update(step):
            optimizer = tf.train.GradientDescentOptimizer(learning_rate)
            train_op = optimizer.minimize(sum_of_squares(), var_list=[coefficients])
            with tf.control_dependencies([train_op]):
                return step + 1

        # The loop runs inside the graph: each step is so small that Python would take longer.
        train_op = tf.while_loop(lambda step: step < updates, update, [0], parallel_iterations=1)
        # Above this rate a step overshoots by more than it mends, along the steepest axis.
        edge = 1 / np.linalg.norm(np.vander(X, terms), 2) ** 2
        return SimpleNamespace(
            graph=graph, terms=terms, edge=edge, learning_rate=learning_rate,
            updates=updates, train_op=train_op, loss=sum_of_squares(),
            coefficients=coefficients, init=tf.global_variables_initializer())


def train(net, learning_rate, marks):
    """Run the graph; yields the step, the sum of squares and the coefficients [terms] at marks."""
    with utils.session(net.graph) as session:
        session.run(net.init)
        for step, count in zip(marks, np.diff(marks, prepend=0)):
            session.run(net.train_op, {net.updates: count, net.learning_rate: learning_rate})
            loss, coefficients = session.run([net.loss, net.coefficients])
            yield step, loss, coefficients[0]


def compare(terms, found, flags):
    """Print the coefficients found beside those of least squares; returns the latter [terms]."""
    powers = np.vander(X, terms, increasing=True)                            # [6, terms]
    exact = np.linalg.lstsq(powers, np.array(Y), rcond=None)[0]              # [terms]
    row = lambda name, values: print('%-29s' % name + ''.join(
        '%11.6f' % (round(value, 6) + 0.0) for value in values))             # + 0.0: not -0.000000
    answers = [('gradient descent', found), ('least squares', exact)]
    row('x', X)
    row('y', Y)
    for name, values in answers:
        row('error, ' + name, powers.dot(values) - Y)
    print('%-29s' % 'power of x' + ''.join('%11d' % power for power in range(terms)))
    for name, values in answers + [('difference', found - exact)]:
        row('coefficient, ' + name, values)
    for name, values in answers:
        print('Terms %d, %-16s  sum of squares %.6f  at x = -5: %7.1f  at x = 5: %7.1f' % (
            terms, name, np.sum((powers.dot(values) - Y) ** 2), *np.polyval(values[::-1], [-5, 5])))
    # One step leaves 1 - rate * curvature of the way along each axis of the valley.
    steepest, flattest = 2 * np.linalg.svd(powers)[1][[0, -1]] ** 2
    left = abs(1 - flags.lr * flattest) ** flags.steps
    print('Terms %d, curvatures %.5f to %.2f, condition %.0f: %s\n' % (
        terms, flattest, steepest, steepest / flattest, 'converged to least squares.'
        if left < 1e-9 else 'not converged, %.1f%% of the way along the flattest axis is left.'
        % (100 * left)), flush=True)
    return exact


def learning_rates(net, steps):
    """Train at each of RATES; returns a list of (rate, steps, losses, curve at the last point)."""
    marks = np.append(np.arange(30), np.geomspace(31, STEPS, 60).astype(int))
    marks, curves = np.append(marks[marks < steps], steps), []
    shown = [i for i, step in enumerate(marks) if step in (0, 1, 2, 5, 10, 20, steps)]
    print('Terms %d, sum of squares at step' % net.terms + ''.join(
        '%11d' % marks[i] for i in shown))
    for rate in [0.997 * net.edge if rate == 'edge' else rate for rate in RATES]:
        _, losses, found = zip(*train(net, rate, marks))
        print('learning rate %-17.4g' % rate + ''.join('%11.4g' % losses[i] for i in shown),
              flush=True)
        at_last = np.array(found).dot(np.power(float(X[-1]), np.arange(net.terms)))  # [marks]
        curves.append((rate, marks, np.array(losses), at_last))
    return curves


def build_network(train_set, seed):
    """784-1024-10 on chosen images; train_set is a Split of float32 [n, 784] and [n, 10]."""
    graph = tf.Graph()
    with graph.as_default():
        tf.set_random_seed(seed)
        chosen = tf.placeholder(tf.int32, [None], name='chosen')             # [batch]
        x = tf.gather(utils.resident(train_set.images[:SUBSET]), chosen)     # [batch, 784]
        y = tf.gather(utils.resident(train_set.labels[:SUBSET]), chosen)     # [batch, 10]
        weights1 = tf.Variable(tf.truncated_normal([784, 1024], stddev=(2 / 784) ** 0.5))
        weights2 = tf.Variable(tf.truncated_normal([1024, 10], stddev=(2 / 1024) ** 0.5))
        logits = tf.matmul(tf.nn.relu(tf.matmul(x, weights1)), weights2)     # [batch, 10]
        loss = tf.reduce_mean(
            tf.nn.softmax_cross_entropy_with_logits_v2(labels=y, logits=logits))
        gradients = tf.gradients(loss, [weights1, weights2])
        return SimpleNamespace(
            graph=graph, chosen=chosen,
            gradient=tf.concat([tf.reshape(part, [-1]) for part in gradients], 0),  # [813056]
            train_op=tf.train.GradientDescentOptimizer(0.1).minimize(loss),
            init=[tf.global_variables_initializer(), tf.local_variables_initializer()])


def batch_sizes(net, count, seed):
    """Measure minibatches of count images; returns rows of (size, bytes, seconds, noise)."""
    random, rows = np.random.RandomState(seed), []
    draw = lambda size: {net.chosen: random.randint(count, size=size)}
    with utils.session(net.graph) as session:
        session.run(net.init)
        for _ in range(100):           # past the start, where all images pull the same way
            session.run(net.train_op, draw(100))
        whole = np.mean([session.run(net.gradient, {net.chosen: part})       # [813056]
                         for part in np.arange(count).reshape(10, -1)], axis=0)
        # The noise of all sizes first: it depends on the weights, and the timed steps move them.
        noises = [np.mean([np.sum((session.run(net.gradient, draw(size)) - whole) ** 2)
                           for _ in range(DRAWS)]) ** 0.5 for size in BATCH_SIZES]
        print('batch size   peak of tensors   time per step   per image   gradient noise')
        for size, noise in zip(BATCH_SIZES, noises):
            seconds = []
            for minibatch in [draw(size) for _ in range(DRAWS)]:
                start = time.time()
                session.run(net.train_op, minibatch)
                seconds.append(time.time() - start)
            # A traced step tells when each tensor was allocated and freed (negative bytes).
            metadata, trace = tf.RunMetadata(), tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
            session.run(net.train_op, draw(size), options=trace, run_metadata=metadata)
            records = [(record.alloc_micros, record.alloc_bytes)
                       for device in metadata.step_stats.dev_stats for node in device.node_stats
                       for memory in node.memory for record in memory.allocation_records]
            rows.append((size, np.cumsum([change for _, change in sorted(records)]).max(),
                         np.median(seconds), noise / np.linalg.norm(whole)))
            print('%10d %14.2f MB %12.2f ms %8.1f us %16.3f' % (
                size, rows[-1][1] / 1e6, 1e3 * rows[-1][2], 1e6 * rows[-1][2] / size,
                rows[-1][3]), flush=True)
    return rows


def main():
    parser, number = utils.Parser(__doc__), utils.number
    parser.flag('--terms', 'of the polynomial (default: 6, then 3)', metavar='N',
                type=number(int, 1, 12))
    parser.flag('--steps', 'training steps', type=number(int, 1, 10**9), default=STEPS)
    parser.flag('--lr', 'learning rate of the fits', metavar='RATE', default=LEARNING_RATE,
                type=number(float, 0, open_low=True))
    parser.flag('--report-every', 'steps between two lines of the log', metavar='STEPS',
                type=number(int, 1), default=REPORT_EVERY)
    parser.flag('--plot', 'draw pictures into this folder', metavar='DIR', type=utils.folder)
    parser.flag('--batch-sizes', 'measure minibatches of images instead', action='store_true')
    parser.flag('--data', '(minibatches) letters, notmnist, mnist or a PATH', default='letters')
    parser.flag('--seed', '(minibatches) of weights and drawing', default=SEED,
                type=number(int, 0, 2**31 - 1))
    flags = parser.parse_args()
    data = utils.load(flags.data) if flags.batch_sizes else None
    print('%s  data %s  seed %d  TensorFlow %s  %s' % (
        parser.prog, flags.data if data else 'six points', flags.seed, tf.__version__,
        parser.changed(flags) or 'default constants'), flush=True)
    if flags.plot:
        import plots  # not above: matplotlib takes seconds to load
    if data:
        count = min(SUBSET, len(data.train.labels)) // 10 * 10
        rows = batch_sizes(build_network(data.train, flags.seed), count, flags.seed)
        if flags.plot:
            plots.batch_sizes(flags.plot, rows)
        return

    fits, nets = [], [build_graph(terms) for terms in ([flags.terms] if flags.terms else TERMS)]
    for net in nets:
        start = time.time()
        for step, loss, found in train(net, flags.lr, np.append(  # noqa: B007
                np.arange(flags.report_every, flags.steps, flags.report_every), flags.steps)):
            print('step %*d/%d  terms %d  sum of squares %.6f  lr %g  %.1fs' % (
                len(str(flags.steps)), step, flags.steps, net.terms, loss, flags.lr,
                time.time() - start), flush=True)
            if not np.isfinite(loss):
                raise utils.Refused('The sum of squares is %s at step %d: %d terms explode at '
                                    'learning rates above %.3g; try --lr %.1g.' % (
                                        loss, step, net.terms, net.edge, net.edge / 2))
        fits.append((net.terms, found, compare(net.terms, found, flags)))
    curves = learning_rates(nets[0], min(flags.steps, STEPS))
    if flags.plot:
        plots.polynomials(flags.plot, X, Y, fits)
        plots.learning_rates(flags.plot, nets[0].terms, curves, Y[-1])


if __name__ == '__main__':
    utils.run(main)
