"""The network of deep_nn.py, trained by several processes, on one machine or on many.

Parameter servers (ps) hold the weights. Each worker has the training set, computes the gradient of
a minibatch of its own and sends it to the weights; once there is one of every worker, their average
makes a step, and all go on from the same new weights. N workers make a step of N minibatches, so
they need 1/N of the steps, each N times as long: --lr is multiplied by N (Goyal et al. 2017).

    python distributed.py --local 2
    python distributed.py --ps A:2222 --workers B:2222,C:2222 --job worker --task 0

The first starts a ps and two workers on this machine; the second is one process out of three, which
get the same lists, and a --job and --task each. Worker 0 is the chief: it initializes, validates,
saves and prints the log, whose minibatch is its own. Whoever is killed may be started again.
Test accuracy of the first 95.6 ± 0.1% on the letters, seeds 1 to 3, TensorFlow 2.21.
"""
import time
from types import SimpleNamespace

import checkpoints
import cluster
import layers
import utils  # before TensorFlow: keeps its start-up chatter off the screen
import tensorflow.compat.v1 as tf

# ---------------------------------------------------------------------------------- constants
STEPS = 2001             # updates, each from one minibatch of every worker
BATCH_SIZE = 128         # images in a minibatch
LEARNING_RATE = 0.3      # at the start, of one worker: that of two is 0.6
REPORT_EVERY = 500       # steps
SEED = 42
MIN_UNITS = 64           # layers are no narrower
FLAGS = [
    # name, default, the value if none is given, what it takes (None: a switch), what it is
    ('--local', 0, None, utils.number(int, 0, 64),
     'start a parameter server and so many workers on this machine'),
    ('--ps', None, None, cluster.addresses, 'HOST:PORT of each parameter server, with commas'),
    ('--workers', None, None, cluster.addresses, 'HOST:PORT of each worker, with commas'),
    ('--job', None, None, ('ps', 'worker'), 'what this process is'),
    ('--task', 0, None, utils.number(int, 0), 'which one of these it is'),
    ('--wait', 120, None, utils.number(float, 0, open_low=True),
     'seconds without an answer from another process before this one gives up'),
    ('--layers', 6, None, utils.number(int, 2, 64), 'weight layers, the output layer among them'),
    ('--hidden', 1024, None, utils.number(int, 1, 8192),
     'units in the first hidden layer; each further one has half as many, at least %d' % MIN_UNITS),
    ('--dropout', 0.5, None, utils.number(float, 0, 1, open_low=True),
     'share of the first hidden layer kept in training'),
    ('--l2', 0.001, None, utils.number(float, 0), 'weight of the L2 penalty'),
    ('--checkpoint', None, None, utils.folder,
     'the chief saves the run into this folder at each report, and goes on from what is there'),
]
# ---------------------------------------------------------------------------------------------


def forward(x, training, seed, flags):
    """deep_nn.py's network with ReLU: x is float32 [batch, 784]; returns logits, all weights."""
    weights, hidden, inputs, units = [], x, 784, flags.hidden
    for layer in range(1, flags.layers):
        with tf.name_scope('layer%d' % layer):
            weights.append(tf.Variable(layers.initial_weights(inputs, units), name='weights'))
            biases = tf.Variable(tf.zeros([units]), name='biases')
            hidden = tf.nn.relu(tf.matmul(hidden, weights[-1]) + biases)     # [batch, units]
            keep_prob = 1 - (1 - flags.dropout) * layers.dropout_share(layer - 1, flags.layers)
            hidden = layers.dropout(hidden, tf.where(training, keep_prob, 1.0), seed(layer))
        inputs, units = units, min(units, max(units // 2, MIN_UNITS))
    with tf.name_scope('output'):
        weights.append(tf.Variable(layers.initial_weights(inputs, 10), name='weights'))
        biases = tf.Variable(tf.zeros([10]), name='biases')
        return tf.matmul(hidden, weights[-1]) + biases, weights              # [batch, 10]


def build_graph(flags, train, spec, task):
    """Describe what a worker does; train: float32 [n, 784] and [n, 10]; spec: a ClusterSpec."""
    graph, workers, chief = tf.Graph(), flags.workers, task == 0
    here = '/job:worker/task:%d' % task
    # Variables go to the parameter servers in turn, all else stays here.
    devices = tf.train.replica_device_setter(cluster=spec, worker_device=here)
    with graph.as_default(), tf.container(cluster.CONTAINER), tf.device(devices):
        tf.set_random_seed(flags.seed)
        with tf.device(cluster.CHIEF):  # not at a ps: if the chief is lost, all must notice
            global_step = tf.train.get_or_create_global_step()
        step = tf.identity(global_step)
        minibatch = step * workers + task  # counted as one process alone would
        with tf.name_scope('minibatch'), tf.device(here):
            images = utils.resident(train.images)                            # [n, 784]
            labels = utils.resident(train.labels)                            # [n, 10]
            offset_range = max(len(train.labels) - flags.batch_size, 1)
            offset = minibatch * flags.batch_size % offset_range
            batch_x = images[offset:offset + flags.batch_size]               # [batch, 784]
            batch_y = labels[offset:offset + flags.batch_size]               # [batch, 10]
        x = tf.placeholder_with_default(batch_x, [None, 784], name='x')
        y = tf.placeholder_with_default(batch_y, [None, 10], name='y')
        training = tf.placeholder_with_default(False, [], name='training')

        with tf.name_scope('forward'):
            logits, weights = forward(x, training, layers.seeds(flags.seed, minibatch), flags)
        with tf.name_scope('loss'):
            losses = {'cross entropy': tf.reduce_mean(
                tf.nn.softmax_cross_entropy_with_logits_v2(labels=y, logits=logits))}
            if flags.l2:
                losses['l2'] = flags.l2 * tf.add_n([tf.nn.l2_loss(w) for w in weights])
        with tf.name_scope('train'):
            progress = tf.cast(step, tf.float32) / max(flags.steps - 1, 1)   # 0 to 1
            learning_rate = workers * flags.lr * layers.SCHEDULES['exponential'](progress)
            optimizer = tf.train.SyncReplicasOptimizer(
                tf.train.GradientDescentOptimizer(learning_rate), workers)
            # Gives a gradient, then waits for a token: the number of the next step.
            train_op = optimizer.minimize(sum(losses.values()), global_step=global_step)
            # Awaits one of every worker, steps, hands out tokens. TensorFlow's hook would run it in
            # a thread that has no way to end in peace; the chief runs it with its own step.
            update = optimizer.get_chief_queue_runner().enqueue_ops if chief else []
            tokens = cluster.Tokens(optimizer)
            begin = optimizer.chief_init_op if chief else tokens.catch_up
        with tf.name_scope('evaluation'):
            predictions = tf.argmax(logits, 1)                               # [batch], 0 to 9
            accuracy = tf.reduce_mean(tf.cast(tf.equal(predictions, tf.argmax(y, 1)), tf.float32))
        finished = [cluster.finished(task).enqueue(True) for task in range(spec.num_tasks('ps'))]
        checkpoint = checkpoints.Checkpoint(tf.global_variables('forward'), flags, train)

        return SimpleNamespace(
            graph=graph, x=x, y=y, training=training, step=step, predictions=predictions,
            train=[step, train_op] + list(update), told=[losses, accuracy, learning_rate],
            tokens=tokens, begin=begin, finished=finished, checkpoint=checkpoint,
            scaffold=tf.train.Scaffold(
                saver=checkpoint.saver,
                ready_for_local_init_op=optimizer.ready_for_local_init_op))


def train(net, data, flags, log, server, watch, task):
    """What a worker does: step after step; the chief reports and keeps the best weights, too.

    log: None but for the chief; server: its own; watch: over the others. Returns the exit code.
    """
    chief, best = task == 0, SimpleNamespace(validation=-1.0, step=0)
    config = cluster.filtered('/job:ps', cluster.CHIEF, '/job:worker/task:%d' % task)

    def begin(session, again):
        """At the start, and again whenever a process that was lost is back."""
        if chief and again:
            cluster.begin_anew('A parameter server was lost')
        if chief and flags.checkpoint:
            net.checkpoint.restore(session, best, log)
        session.run(net.begin)
        if not chief:
            at = session.run(net.step)
            print('worker %d of %d joins at step %d' % (task, flags.workers, at), flush=True)

    def report(step_context):
        """The others wait for the chief's next gradient meanwhile, so the weights stand still."""
        session = step_context.session
        with cluster.none_lost():
            validation = utils.accuracy(session, net, data.valid)
            log.report(step, *told[:2], validation, told[2])
            if validation > best.validation:
                best.validation, best.step = validation, step
                session.run(net.checkpoint.keep_best)
            net.checkpoint.save(session, best, log)

    hooks = [cluster.EachSession(begin)]
    with net.graph.as_default():
        if chief:  # what an earlier chief has left at the parameter servers is of no use
            tf.Session.reset(server.target, [cluster.CONTAINER], config)
            session = tf.train.MonitoredTrainingSession(
                server.target, checkpoint_dir=flags.checkpoint, scaffold=net.scaffold, hooks=hooks,
                save_checkpoint_secs=None, save_summaries_steps=None, save_summaries_secs=None,
                log_step_count_steps=None, config=config)
        else:
            session = tf.train.MonitoredSession(
                cluster.Joining(net.scaffold, server.target, config), hooks)
        with session:
            step = int(session.run(net.step))
            while step < flags.steps:
                due, watch.moved = chief and log.due(step), time.time()
                (step, token, *_), told = session.run(
                    [net.train, net.told if due else []], {net.training: True})
                step, following = int(step), net.tokens.following(session, step, token)
                if following >= flags.steps:
                    watch.needed = []  # the others may end now
                if due:
                    session.run_step_fn(report)
                step = following

        with tf.Session(server.target, config=config) as session:  # the variables are still there
            code = 0
            if chief:
                session.run(net.checkpoint.restore_best)
                predictions = utils.predict(session, net, data.test.images)  # [n], 0 to 9
                code = log.finish(predictions, data.test, best.validation, best.step)
            session.run(net.finished)
        return code


def refuse_nonsense(flags):
    """Flags that do not fit together; raises utils.Refused."""
    places = (flags.ps or []) + (flags.workers or [])
    there = len({'ps': flags.ps, 'worker': flags.workers}.get(flags.job) or [])
    utils.refuse([
        (flags.local and (places or flags.job),
         '--local starts everything on this machine: leave out --ps, --workers and --job.'),
        (not flags.local and not (flags.ps and flags.workers and flags.job),
         'Give --local with a number of workers, or all of --ps, --workers and --job.'),
        (len(set(places)) < len(places), '--ps and --workers name an address twice.'),
        (not flags.local and flags.task >= there,
         '--task %d is none of the %d that --%s names: they count from 0.' % (
             flags.task, there, 'ps' if flags.job == 'ps' else 'workers'))])


def main():
    parser = utils.Flags(__doc__, STEPS, BATCH_SIZE, LEARNING_RATE, REPORT_EVERY, SEED)
    parser.table(FLAGS)
    parser.set_defaults(resume=True)  # a cluster's manager starts what was killed as it was
    flags = parser.parse_args()
    refuse_nonsense(flags)
    if flags.local:
        utils.formats.read(flags.data)  # what is wrong with it is told once
        return cluster.launch(flags.local)

    spec = tf.train.ClusterSpec({'ps': flags.ps, 'worker': flags.workers})
    server = cluster.serve(spec, flags)
    cluster.end_as_told()
    if flags.job == 'ps':
        return cluster.hold_weights(server, flags)
    task, watch = flags.task, cluster.Watch(flags.ps + flags.workers, flags.wait)
    flags.workers = len(flags.workers)  # how many, not where: that is what a checkpoint has to fit
    for name in ('local', 'ps', 'job', 'task', 'wait'):
        delattr(flags, name)
    if task == 0:
        checkpoints.check(flags)
    data, log = utils.load(flags.data, flags.seed if flags.shuffle else None), None
    if task == 0:
        log = utils.Log(parser, flags, data, len(data.train.labels) / flags.workers)
    net = build_graph(flags, data.train, spec, task)
    with cluster.refusing():
        return train(net, data, flags, log, server, watch, task)


if __name__ == '__main__':
    utils.run(main)
