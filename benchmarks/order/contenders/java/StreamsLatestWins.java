import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.processor.api.FixedKeyProcessor;
import org.apache.kafka.streams.processor.api.FixedKeyProcessorContext;
import org.apache.kafka.streams.processor.api.FixedKeyRecord;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * The latest event of each key wins, with Kafka Streams. The state is a logged key-value store
 * whose values are the framed rows.
 *
 * <p>Arguments: the input topic, the output topic, the files of the schemas ConsentEvent and
 * Consent, the header of a framed Consent in hex, the version of the law, a properties file, and
 * "memory" or "rocksdb".
 */
public final class StreamsLatestWins {
  private static final String STORE = "latest";

  public static void main(String[] args) throws IOException {
    String event = Files.readString(Path.of(args[2]));
    String row = Files.readString(Path.of(args[3]));
    byte[] header = HexFormat.of().parseHex(args[4]);
    int law = Integer.parseInt(args[5]);
    Properties settings = new Properties();
    try (var reader = Files.newBufferedReader(Path.of(args[6]))) {
      settings.load(reader);
    }

    var supplier =
        args[7].equals("rocksdb")
            ? Stores.persistentKeyValueStore(STORE)
            : Stores.inMemoryKeyValueStore(STORE);
    var bytes = Serdes.ByteArray();
    var store = Stores.keyValueStoreBuilder(supplier, bytes, bytes).withCachingEnabled();
    StreamsBuilder builder = new StreamsBuilder();
    builder
        .addStateStore(store)
        .stream(args[0], Consumed.with(bytes, bytes))
        .processValues(
            () -> new KeepLatest(new LatestWinsRule(event, row, header, law)), STORE)
        .to(args[1], Produced.with(bytes, bytes));

    KafkaStreams streams = new KafkaStreams(builder.build(), settings);
    Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
    streams.start();
  }

  private static final class KeepLatest implements FixedKeyProcessor<byte[], byte[], byte[]> {
    private final LatestWinsRule rule;
    private FixedKeyProcessorContext<byte[], byte[]> context;
    private KeyValueStore<byte[], byte[]> latest;

    KeepLatest(LatestWinsRule rule) {
      this.rule = rule;
    }

    @Override
    public void init(FixedKeyProcessorContext<byte[], byte[]> context) {
      this.context = context;
      this.latest = context.getStateStore(STORE);
    }

    @Override
    public void process(FixedKeyRecord<byte[], byte[]> record) {
      byte[] row = rule.after(record.value(), latest.get(record.key()));
      if (row != null) {
        latest.put(record.key(), row);
        context.forward(record.withValue(row));
      }
    }
  }
}
