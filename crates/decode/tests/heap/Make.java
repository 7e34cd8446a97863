// Fills a heap with objects of every layout, prints the class histogram before and after
// the dump, and dumps it: Make FILE COUNT.
import com.sun.management.HotSpotDiagnosticMXBean;
import java.lang.management.ManagementFactory;
import java.lang.ref.SoftReference;
import java.lang.ref.WeakReference;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import javax.management.ObjectName;

public class Make {
    static class Node { Node next, prev; Object value; int n; long l; byte b; }
    static class Sub extends Node { String name; Sub other; short s; }
    static class Wide { double d; boolean b; }
    static class Narrow extends Wide { byte a; char c; Object o; }

    static final Map<String, List<Node>> MAP = new HashMap<>();
    static final List<Integer> LIST = new ArrayList<>(1000);
    static final Set<Object> SET = new LinkedHashSet<>();
    static final List<Object> OTHERS = new ArrayList<>();
    static final Object[] TABLE = new Object[1000];
    static long[][] grid = new long[7][];
    static String[][] names = {{"a", "b"}, {"c"}};
    static Node ring;
    static WeakReference<Object> weak;
    static SoftReference<Object> soft;

    public static void main(String[] arguments) throws Exception {
        fill(Integer.parseInt(arguments[1]));
        Thread thread = new Thread(Make::keep, "keeper");
        thread.setDaemon(true);
        thread.start();
        while (thread.getState() != Thread.State.WAITING) Thread.sleep(10);
        histogram();
        ManagementFactory.getPlatformMXBean(HotSpotDiagnosticMXBean.class).dumpHeap(arguments[0], true);
        histogram();
        Runtime.getRuntime().halt(0);
    }

    static void fill(int count) {
        Random random = new Random(7);
        List<Node> all = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            Node node = i % 3 == 0 ? new Sub() : new Node();
            node.n = i;
            node.value = i % 5 == 0 ? "text" + i % 50 : (Object) new byte[i % 97];
            if (node instanceof Sub) ((Sub) node).name = new String("name" + i);
            all.add(node);
            MAP.computeIfAbsent("key" + i % 200, key -> new ArrayList<>()).add(node);
            if (i > 0) { node.next = all.get(random.nextInt(i)); node.prev = all.get(i - 1); }
            if (i % 7 == 0) TABLE[i % 1000] = new Object[] {node, new int[i % 13], i};
            if (i % 11 == 0) SET.add(new char[i % 31]);
            if (i % 17 == 0) OTHERS.add(new Narrow());
        }
        for (int i = 0; i < 7; i++) grid[i] = new long[i * 3];
        for (int i = 0; i < 10; i++) LIST.add(1000 + i);
        ring = all.get(0);
        weak = new WeakReference<>(new byte[54321]);
        soft = new SoftReference<>(new byte[12345]);
    }

    static void keep() {
        Object[] mine = {new int[777], "local"};
        synchronized (mine) {
            synchronized (Make.class) {
                try { Make.class.wait(); } catch (InterruptedException e) { return; }
            }
            System.out.println(mine);
        }
    }

    static void histogram() throws Exception {
        ObjectName name = new ObjectName("com.sun.management:type=DiagnosticCommand");
        String[] signature = {String[].class.getName()};
        System.out.println(ManagementFactory.getPlatformMBeanServer()
            .invoke(name, "gcClassHistogram", new Object[] {null}, signature));
    }
}
