import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.SplittableRandom;

/**
 * A bank in an H2 database in memory. A transaction, after TPC-B, moves money on an account, its teller and its branch
 * and writes that down; one in four only reads an account. Accounts are chosen by Zipf's law.
 *
 * The result: transactions_per_s; p99_ms, how long after it was due a transaction was done, with one in a hundred
 * taking longer. At the end accounts, tellers, branches and history must agree on the money.
 */
final class BankH2 {
    private static final String URL = "jdbc:h2:mem:bank;DB_CLOSE_DELAY=-1;DB_CLOSE_ON_EXIT=FALSE;LOCK_TIMEOUT=60000";
    private static final int TELLERS = 10, FILLER = 800, BATCH = 200, READS_OF_FOUR = 1;
    private static final String[] TABLES = {"account", "teller", "branch"};

    private final int accounts;
    private final double exponent;
    private final ThreadLocal<Session> sessions = ThreadLocal.withInitial(Session::new);

    private BankH2(int accounts, double exponent) {
        this.accounts = accounts;
        this.exponent = exponent;
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

    private void fill(Load load) throws SQLException {
        try (Connection connection = DriverManager.getConnection(URL)) {
            for (String table : TABLES) {
                String columns = "(id INT PRIMARY KEY, balance BIGINT NOT NULL, filler VARCHAR)";
                connection.createStatement().execute("CREATE TABLE " + table + columns);
                int rows = table.equals("account") ? accounts : table.equals("teller") ? TELLERS : 1;
                String insert = "INSERT INTO " + table + " VALUES (?, 0, ?)";
                try (PreparedStatement statement = connection.prepareStatement(insert)) {
                    for (int row = 0; row < rows; row++) {
                        Load.require(!load.over(), "the time was up after %d of %d accounts", row, accounts);
                        statement.setInt(1, row);
                        statement.setString(2, filler(row));
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

    /** A row's own text: its number, and letters drawn from it. */
    private static String filler(int row) {
        SplittableRandom chance = new SplittableRandom(row);
        StringBuilder text = new StringBuilder(FILLER).append(row).append(':');
        while (text.length() < FILLER) {
            text.append((char) ('a' + chance.nextInt(26)));
        }
        return text.toString();
    }

    private void transact(SplittableRandom chance) throws SQLException {
        Session session = sessions.get();
        int account = popular(chance);
        if (chance.nextInt(4) < READS_OF_FOUR) {
            session.read.setInt(1, account);
            try (ResultSet row = session.read.executeQuery()) {
                Load.require(row.next() && row.getString(2).startsWith(account + ":"), "account %d is lost", account);
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
        BankH2 bank = new BankH2((int) Load.number(arguments, "accounts"), Load.number(arguments, "exponent"));
        bank.fill(load);
        System.err.printf("%.1f s: filled%n", load.elapsedS());
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
