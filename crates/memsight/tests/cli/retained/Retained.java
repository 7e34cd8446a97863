// Prints what VisualVM's heap library makes of a dump: Retained DUMP OUTPUT. A line an
// object: class object or instance, id, size, retained size, the object before it on the
// way to a root, class.
import java.io.BufferedOutputStream;
import java.io.File;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.util.Iterator;
import org.graalvm.visualvm.lib.jfluid.heap.Heap;
import org.graalvm.visualvm.lib.jfluid.heap.HeapFactory;
import org.graalvm.visualvm.lib.jfluid.heap.Instance;
import org.graalvm.visualvm.lib.jfluid.heap.JavaClass;

public class Retained {
    public static void main(String[] arguments) throws Exception {
        Heap heap = HeapFactory.createHeap(new File(arguments[0]));
        try (PrintStream out = new PrintStream(new BufferedOutputStream(new FileOutputStream(arguments[1])))) {
            for (Object found : heap.getAllClasses()) {
                JavaClass of = (JavaClass) found;
                print(out, 'C', heap.getInstanceByID(of.getJavaClassId()), of.getName());
            }
            for (Iterator<?> all = heap.getAllInstancesIterator(); all.hasNext();) {
                Instance instance = (Instance) all.next();
                print(out, 'I', instance, instance.getJavaClass().getName());
            }
        }
    }

    static void print(PrintStream out, char kind, Instance instance, String name) {
        Instance before = instance.getNearestGCRootPointer();
        out.println(kind + " " + Long.toUnsignedString(instance.getInstanceId())
            + " " + instance.getSize() + " " + instance.getRetainedSize()
            + " " + Long.toUnsignedString(before == null ? 0 : before.getInstanceId()) + " " + name);
    }
}
