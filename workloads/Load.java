import java.io.IOException;
import java.util.Arrays;
import java.util.Locale;
import java.util.SplittableRandom;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Asks for operations at a pace, from several threads, until a deadline or a signal, and notes how long each took from
 * the moment when it was due: one that has to wait for those before it is late, and counts as slow. Its clock starts
 * with begin(); until then there is no deadline, and a signal ends the program as a failure.
 */
final class Load {
    /** One operation; what it throws ends the program as a failure. */
    interface Operation {
        void run(SplittableRandom chance) throws Exception;
    }

    /** What came of one stretch of time at one pace. */
    record Stretch(long operations, double seconds, double p99Ms) {
        double perSecond() {
            return operations / seconds;
        }
    }

    private static final int BUCKETS = 400;
    private static final double STEP = Math.log(1.1), LEAST_MS = 0.01;
    private static final double HEALTH_S = 25;

    static {
        Thread.setDefaultUncaughtExceptionHandler((thread, error) -> fail(error.toString()));
    }

    private final double seconds;
    private final int threads;
    private final long seed;
    private volatile long start = System.nanoTime(), end;
    private volatile boolean begun, stopped;

    Load(double seconds, int threads, long seed) {
        this.seconds = seconds;
        this.threads = threads;
        this.seed = seed;
        Thread main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            if (!begun) {
                fail("it was told to stop before it was told to go");
            }
            stopped = true;
            try {
                main.join((long) (1000 * HEALTH_S)); // it reports, and ends the program itself
            } catch (InterruptedException ignored) {
                Thread.currentThread().interrupt();
            }
        }));
    }

    /** Say that all is ready, wait for the word, and start the clock. */
    void begin() {
        System.out.println("ready");
        System.out.flush();
        StringBuilder word = new StringBuilder();
        try {
            for (int letter = System.in.read(); letter >= 0 && letter != '\n'; letter = System.in.read()) {
                word.append((char) letter);
            }
        } catch (IOException error) {
            fail("its input cannot be read: " + error);
        }
        require(word.toString().strip().equals("go"), "it was never told to go; by hand: echo go | java ...");
        start = System.nanoTime();
        end = start + (long) (seconds * 1e9);
        begun = true;
    }

    /** Seconds since the word; before it, since the program began to get ready. */
    double elapsedS() {
        return (System.nanoTime() - start) / 1e9;
    }

    double leftS() {
        return (end - System.nanoTime()) / 1e9;
    }

    boolean over() {
        return stopped || System.nanoTime() >= end;
    }

    /** Ask for so many operations per second, 0 for as many as can be done, over so many seconds if they are left. */
    Stretch run(double perSecond, double seconds, Operation operation) {
        long begun = System.nanoTime(), until = Math.min(end, begun + (long) (seconds * 1e9));
        AtomicLong next = new AtomicLong();
        long[][] took = new long[threads][BUCKETS];
        Thread[] workers = new Thread[threads];
        for (int each = 0; each < threads; each++) {
            SplittableRandom chance = new SplittableRandom(seed * 31 + each + Double.hashCode(perSecond));
            long[] mine = took[each];
            workers[each] = new Thread(() -> {
                while (!stopped && System.nanoTime() < until) {
                    long now = System.nanoTime();
                    long due = perSecond > 0 ? begun + (long) (next.getAndIncrement() * 1e9 / perSecond) : now;
                    if (due >= until) {
                        return;
                    }
                    try {
                        for (; now < due && !stopped; now = System.nanoTime()) {
                            Thread.sleep(Math.min(100, (due - now) / 1_000_000), (int) ((due - now) % 1_000_000));
                        }
                        operation.run(chance);
                    } catch (Exception error) {
                        fail(error.toString());
                    }
                    mine[bucket((System.nanoTime() - due) / 1e6)]++;
                }
            });
            workers[each].start();
        }
        for (Thread worker : workers) {
            try {
                worker.join();
            } catch (InterruptedException error) {
                fail("interrupted");
            }
        }
        long[] all = new long[BUCKETS];
        for (long[] mine : took) {
            Arrays.setAll(all, bucket -> all[bucket] + mine[bucket]);
        }
        return new Stretch(Arrays.stream(all).sum(), (System.nanoTime() - begun) / 1e9, quantileMs(all, 0.99));
    }

    private static int bucket(double ms) {
        return (int) Math.max(0, Math.min(BUCKETS - 1, 1 + Math.log(ms / LEAST_MS) / STEP));
    }

    private static double quantileMs(long[] counts, double share) {
        long wanted = (long) Math.ceil(share * Arrays.stream(counts).sum()), seen = 0;
        for (int bucket = 0; bucket < counts.length; bucket++) {
            seen += counts[bucket];
            if (seen >= wanted) {
                return LEAST_MS * Math.exp(bucket * STEP);
            }
        }
        return Double.NaN;
    }

    /** A condition that must hold for the run to be worth anything. */
    static void require(boolean holds, String said, Object... values) {
        if (!holds) {
            fail(String.format(Locale.ROOT, said, values));
        }
    }

    static void fail(String reason) {
        System.err.println("failed: " + reason);
        Runtime.getRuntime().halt(1);
    }

    /** Print the result, one JSON line of names and numbers, and end at once. */
    void report(Object... namesAndNumbers) {
        StringBuilder line = new StringBuilder("{");
        for (int each = 0; each < namesAndNumbers.length; each += 2) {
            line.append(String.format(Locale.ROOT, "\"%s\": %s, ", namesAndNumbers[each], namesAndNumbers[each + 1]));
        }
        System.out.printf("%s\"elapsed_s\": %s, \"ended\": \"%s\"}%n", line, elapsedS(), stopped ? "signal" : "deadline");
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }

    /** The value of an option `--name=value`. */
    static String option(String[] arguments, String name) {
        for (String argument : arguments) {
            if (argument.startsWith("--" + name + "=")) {
                return argument.substring(name.length() + 3);
            }
        }
        fail("--" + name + "=… is missing");
        return null;
    }

    static double number(String[] arguments, String name) {
        return Double.parseDouble(option(arguments, name));
    }
}
