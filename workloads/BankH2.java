import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.SplittableRandom;

/**
 * A bank in an H2 database in memory. A transaction, after TPC-B, moves money on an account, its teller and its branch
 * and writes that down; three in four only read an account, all of it. Accounts are chosen by Zipf's law.
 *
 * The result: transactions_per_s; p99_ms, how long after it was due a transaction was done, with one in a hundred
 * taking longer. At the end accounts, tellers, branches and history must agree on the money.
 */
final class BankH2 {
    private static final String URL = "jdbc:h2:mem:bank;DB_CLOSE_DELAY=-1;DB_CLOSE_ON_EXIT=FALSE;LOCK_TIMEOUT=60000";
    private static final int TELLERS = 10, BATCH = 50, PAGE = 4096, READS_OF_FOUR = 3;
    private static final String[] TABLES = {"account", "teller", "branch"};

    private final int accounts, filler;
    private final double exponent;
    private final String letters;
    private final ThreadLocal<Session> sessions = ThreadLocal.withInitial(Session::new);

    private BankH2(int accounts, int filler, double exponent) {
        this.accounts = accounts;
        this.filler = filler;
        this.exponent = exponent;
        byte[] drawn = new byte[filler + PAGE];
        new SplittableRandom(1).nextBytes(drawn);
        letters = new String(drawn, StandardCharsets.ISO_8859_1).replace('\0', 'x');
    }

    /** A thread's connection. */
    private static final class Session {
        private final Connection connection;
        private final PreparedStatement read, history;
        private final PreparedStatement[] add = new PreparedStatement[TABLES.length];

        private Session() {
            try {
                connection = DriverManager.getConnection(URL);
                connection.setAutoCommit(false);
                read = connection.prepareStatement("SELECT balance, filler FROM account WHERE id = ?");
                history = connection.prepareStatement("INSERT INTO history (account, delta) VALUES (?, ?)");
                for (int each = 0; each < TABLES.length; each++) {
                    String sql = "UPDATE " + TABLES[each] + " SET balance = balance + ? WHERE id = ?";
                    add[each] = connection.prepareStatement(sql);
                }
            } catch (SQLException error) {
                throw new IllegalStateException(error);
            }
        }
    }

    private void fill() throws SQLException {
        try (Connection connection = DriverManager.getConnection(URL)) {
            for (String table : TABLES) {
                String columns = "(id INT PRIMARY KEY, balance BIGINT NOT NULL, filler VARCHAR)";
                connection.createStatement().execute("CREATE TABLE " + table + columns);
                int rows = table.equals("account") ? accounts : table.equals("teller") ? TELLERS : 1;
                String insert = "INSERT INTO " + table + " VALUES (?, 0, ?)";
                try (PreparedStatement statement = connection.prepareStatement(insert)) {
                    for (int row = 0; row < rows; row++) {
                        statement.setInt(1, row);
                        statement.setString(2, table.equals("account") ? filler(row) : "");
                        statement.addBatch();
                        if (row % BATCH == BATCH - 1 || row == rows - 1) {
                            statement.executeBatch();
                        }
                    }
                }
            }
            connection.createStatement().execute(
                "CREATE TABLE history (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account INT, delta BIGINT)");
        }
    }

    /** An account's own text: its number, and letters that do not repeat from one account to the next. */
    private String filler(int row) {
        return row + ":" + letters.substring(row % PAGE, row % PAGE + filler);
    }

    /** Whether an account's text is that which it was given, by its number and a letter in every page of it. */
    private boolean isFiller(int row, String text) {
        int head = Integer.toString(row).length() + 1;
        boolean right = text.startsWith(row + ":") && text.length() == head + filler;
        for (int at = 0; right && at < filler; at += PAGE) {
            right = text.charAt(head + at) == letters.charAt(row % PAGE + at);
        }
        return right;
    }

    private void transact(SplittableRandom chance) throws SQLException {
        Session session = sessions.get();
        int account = popular(chance);
        if (chance.nextInt(4) < READS_OF_FOUR) {
            session.read.setInt(1, account);
            try (ResultSet row = session.read.executeQuery()) {
                Load.require(row.next() && isFiller(account, row.getString(2)), "account %d is not what it was", account);
            }
        } else {
            long delta = chance.nextInt(-5000, 5001);
            int[] ids = {account, chance.nextInt(TELLERS), 0};
            for (int each = 0; each < TABLES.length; each++) {
                session.add[each].setLong(1, delta);
                session.add[each].setInt(2, ids[each]);
                Load.require(session.add[each].executeUpdate() == 1, "%s %d is lost", TABLES[each], ids[each]);
            }
            session.history.setInt(1, account);
            session.history.setLong(2, delta);
            session.history.executeUpdate();
        }
        session.connection.commit();
    }

    /** Zipf's law by its continuous form, inverted; the ranks are dealt over the accounts. */
    private int popular(SplittableRandom chance) {
        double share = chance.nextDouble(), power = 1 - exponent;
        double rank = Math.abs(power) < 1e-9
            ? Math.pow(accounts + 1, share)
            : Math.pow(1 + share * (Math.pow(accounts + 1, power) - 1), 1 / power);
        return (int) ((Math.min(accounts, (long) rank) - 1) * 2_654_435_761L % accounts);
    }

    private static long sum(String column, String table) throws SQLException {
        try (Connection connection = DriverManager.getConnection(URL);
             ResultSet row = connection.createStatement().executeQuery("SELECT SUM(" + column + ") FROM " + table)) {
            row.next();
            return row.getLong(1);
        }
    }

    public static void main(String[] arguments) throws SQLException {
        int threads = (int) Load.number(arguments, "threads");
        Load load = new Load(Load.number(arguments, "duration-s"), threads, (long) Load.number(arguments, "seed"));
        int accounts = (int) Load.number(arguments, "accounts"), filler = (int) Load.number(arguments, "account-bytes");
        BankH2 bank = new BankH2(accounts, filler, Load.number(arguments, "exponent"));
        bank.fill();
        System.err.printf("filled after %.1f s%n", load.elapsedS());
        load.begin();
        Load.Stretch done = load.run(Load.number(arguments, "transactions-per-s"), load.leftS(), bank::transact);
        long history = sum("delta", "history");
        for (String table : TABLES) {
            long balance = sum("balance", table);
            Load.require(balance == history, "history says %d, and %s has %d", history, table, balance);
        }
        Load.require(done.operations() > 0, "not one transaction was done in time");
        load.report("transactions_per_s", done.perSecond(), "p99_ms", done.p99Ms(), "transactions", done.operations());
    }
}
