import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.TreeMap;

/**
 * A wholesaler whose whole business is in the heap: warehouses with their stock, districts, customers and orders. Five
 * kinds of transactions in the mix of TPC-C: new order 45 %, payment 43, order status, delivery and stock level 4 each.
 * They are asked for at a rate that rises step by step, and a step is judged by how long transactions took from when they
 * were due.
 *
 * The result: max_ops_per_s, the most that was done per second in any step; ops_per_s_in_time, the most in a step of
 * which 99 in 100 transactions were done within the limit. At the end every order must be open or delivered, and what
 * customers owe must be what was delivered to them, less what they paid.
 */
final class Warehouse {
    private static final int DISTRICTS = 10, KEPT = 100, MOST_LINES = 15, LEAST_LINES = 5, LOW = 15, FULL = 100;
    private static final int CUSTOMER_BYTES = 500, STOCK_BYTES = 300, PRICES = 10_000, RECENT = 20;

    /** Something about it that is never read whole: what business data mostly is. */
    private static byte[] text(SplittableRandom chance, int length) {
        byte[] text = new byte[length];
        chance.nextBytes(text);
        return text;
    }

    private static final class Customer {
        final byte[] data;
        long owes, bought, paid;
        Order last;

        Customer(SplittableRandom chance) {
            data = text(chance, CUSTOMER_BYTES);
        }
    }

    private static final class Stock {
        final byte[] data;
        final int price;
        int quantity = FULL;
        long sold, restocked;

        Stock(SplittableRandom chance) {
            data = text(chance, STOCK_BYTES);
            price = 1 + chance.nextInt(PRICES);
        }
    }

    private record Line(int item, int quantity, long amount) {
    }

    private static final class Order {
        final Customer customer;
        final List<Line> lines = new ArrayList<>();
        boolean delivered;

        Order(Customer customer) {
            this.customer = customer;
        }

        long amount() {
            return lines.stream().mapToLong(Line::amount).sum();
        }
    }

    private static final class District {
        final Customer[] customers;
        final TreeMap<Long, Order> orders = new TreeMap<>();
        final ArrayDeque<Order> open = new ArrayDeque<>();
        long ordered, delivered, forgotten, earned;

        District(SplittableRandom chance, int size) {
            customers = new Customer[size];
            for (int each = 0; each < size; each++) {
                customers[each] = new Customer(chance);
            }
        }
    }

    private final Map<Integer, Stock> stock = new HashMap<>();
    private final District[] districts = new District[DISTRICTS];
    private long earned, unused;

    /** Some 4 MiB of heap for every thousand of `size`: so many customers in all, and four times as many items. */
    private Warehouse(SplittableRandom chance, int size) {
        for (int each = 0; each < DISTRICTS; each++) {
            districts[each] = new District(chance, size / DISTRICTS);
        }
        for (int item = 0; item < 4 * size; item++) {
            stock.put(item, new Stock(chance));
        }
    }

    synchronized void transact(SplittableRandom chance) {
        District district = districts[chance.nextInt(DISTRICTS)];
        Customer customer = district.customers[chance.nextInt(district.customers.length)];
        int kind = chance.nextInt(100);
        if (kind < 45) {
            order(district, customer, chance);
        } else if (kind < 88) {
            pay(district, customer, 1 + chance.nextInt(500_000));
        } else if (kind < 92) {
            look(customer);
        } else if (kind < 96) {
            deliver();
        } else {
            lowStock(district);
        }
    }

    private void order(District district, Customer customer, SplittableRandom chance) {
        Order order = new Order(customer);
        for (int lines = chance.nextInt(LEAST_LINES, MOST_LINES + 1); lines > 0; lines--) {
            int item = chance.nextInt(stock.size()), quantity = 1 + chance.nextInt(10);
            Stock entry = stock.get(item);
            if (entry.quantity < quantity + 10) {
                entry.quantity += FULL;
                entry.restocked += FULL;
            }
            entry.quantity -= quantity;
            entry.sold += quantity;
            unused += entry.data[entry.quantity % STOCK_BYTES];
            order.lines.add(new Line(item, quantity, (long) quantity * entry.price));
        }
        customer.last = order;
        district.orders.put(district.ordered++, order);
        district.open.add(order);
        while (district.orders.size() > KEPT && district.orders.firstEntry().getValue().delivered) {
            district.orders.pollFirstEntry();
            district.forgotten++;
        }
    }

    private void pay(District district, Customer customer, long amount) {
        customer.owes -= amount;
        customer.paid += amount;
        district.earned += amount;
        earned += amount;
        customer.data[(int) (amount % CUSTOMER_BYTES)] ^= 1;
    }

    private void look(Customer customer) {
        unused += customer.last == null ? 0 : customer.last.amount();
    }

    /** The oldest open order of every district; where many wait, two. */
    private void deliver() {
        for (District district : districts) {
            for (int left = district.open.size() > KEPT ? 2 : 1; left > 0 && !district.open.isEmpty(); left--) {
                Order order = district.open.poll();
                order.delivered = true;
                order.customer.owes += order.amount();
                order.customer.bought += order.amount();
                district.delivered++;
            }
        }
    }

    private void lowStock(District district) {
        district.orders.descendingMap().values().stream().limit(RECENT).flatMap(order -> order.lines.stream())
            .filter(line -> stock.get(line.item()).quantity < LOW).forEach(line -> unused++);
    }

    private synchronized void check() {
        long fromDistricts = 0, fromCustomers = 0;
        for (District district : districts) {
            Load.require(district.ordered == district.delivered + district.open.size(),
                "of %d orders %d were delivered and %d are open", district.ordered, district.delivered, district.open.size());
            Load.require(district.ordered == district.orders.size() + district.forgotten,
                "of %d orders %d are kept", district.ordered, district.orders.size());
            fromDistricts += district.earned;
            for (Customer customer : district.customers) {
                Load.require(customer.owes == customer.bought - customer.paid,
                    "a customer bought for %d, paid %d and owes %d", customer.bought, customer.paid, customer.owes);
                fromCustomers += customer.paid;
            }
        }
        Load.require(earned == fromDistricts && earned == fromCustomers,
            "the warehouse earned %d, its districts %d, and its customers paid %d", earned, fromDistricts, fromCustomers);
        for (Stock entry : stock.values()) {
            Load.require(entry.quantity == FULL + entry.restocked - entry.sold,
                "an item has %d, of %d sold and %d restocked", entry.quantity, entry.sold, entry.restocked);
        }
    }

    public static void main(String[] arguments) {
        double duration = Load.number(arguments, "duration-s"), limitMs = Load.number(arguments, "limit-ms");
        double lowest = Load.number(arguments, "from-ops-per-s"), highest = Load.number(arguments, "to-ops-per-s");
        int steps = (int) Load.number(arguments, "steps"), size = (int) Load.number(arguments, "size");
        long seed = (long) Load.number(arguments, "seed");
        Load load = new Load(duration, (int) Load.number(arguments, "threads"), seed);
        Warehouse[] warehouses = new Warehouse[(int) Load.number(arguments, "warehouses")];
        for (int each = 0; each < warehouses.length; each++) {
            warehouses[each] = new Warehouse(new SplittableRandom(seed + each), size);
        }
        load.begin();
        double most = 0, inTime = 0, stepS = load.leftS() / steps;
        long operations = 0;
        for (int step = 0; step < steps && !load.over(); step++) {
            double rate = lowest * Math.pow(highest / lowest, steps == 1 ? 1 : (double) step / (steps - 1));
            Load.Stretch done = load.run(rate, stepS, chance -> warehouses[chance.nextInt(warehouses.length)].transact(chance));
            System.err.printf("%.1f s: asked for %.0f/s, did %.0f/s, p99 %.1f ms%n",
                load.elapsedS(), rate, done.perSecond(), done.p99Ms());
            operations += done.operations();
            most = Math.max(most, done.perSecond());
            inTime = done.p99Ms() <= limitMs ? Math.max(inTime, done.perSecond()) : inTime;
        }
        Load.require(operations > 0, "not one transaction was done in time");
        for (Warehouse warehouse : warehouses) {
            warehouse.check();
        }
        load.report("max_ops_per_s", most, "ops_per_s_in_time", inTime, "operations", operations);
    }
}
