import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.Properties;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;
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
 * The latest event of each key wins, with Kafka Streams. The rule is that of latest_wins.py;
 * the state is a logged key-value store whose values are the framed rows.
 *
 * <p>Arguments: a properties file, the input topic, the output topic, "memory" or "rocksdb", the
 * files of the schemas ConsentEvent and Consent, the header of a framed Consent in hex, and the
 * version of the law.
 */
public final class LatestWins {
  private static final int HEADER = 10;
  private static final String STORE = "latest";
  private static final String[] TAKEN_OVER = {
    "customer_id", "brand_code", "type", "recipient_type", "recipient", "status",
    "event_id", "origin", "source", "consent_date",
  };

  public static void main(String[] args) throws IOException {
    Properties settings = new Properties();
    try (var reader = Files.newBufferedReader(Path.of(args[0]))) {
      settings.load(reader);
    }
    Schema event = new Schema.Parser().parse(Files.readString(Path.of(args[4])));
    Schema row = new Schema.Parser().parse(Files.readString(Path.of(args[5])));
    byte[] header = HexFormat.of().parseHex(args[6]);
    int law = Integer.parseInt(args[7]);

    var supplier =
        args[3].equals("rocksdb")
            ? Stores.persistentKeyValueStore(STORE)
            : Stores.inMemoryKeyValueStore(STORE);
    var bytes = Serdes.ByteArray();
    var store = Stores.keyValueStoreBuilder(supplier, bytes, bytes).withCachingEnabled();
    StreamsBuilder builder = new StreamsBuilder();
    builder
        .addStateStore(store)
        .stream(args[1], Consumed.with(bytes, bytes))
        .processValues(() -> new KeepLatest(event, row, header, law), STORE)
        .to(args[2], Produced.with(bytes, bytes));

    KafkaStreams streams = new KafkaStreams(builder.build(), settings);
    Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
    streams.start();
  }

  private static final class KeepLatest implements FixedKeyProcessor<byte[], byte[], byte[]> {
    private final GenericDatumReader<GenericRecord> events;
    private final GenericDatumReader<GenericRecord> rows;
    private final GenericDatumWriter<GenericRecord> writer;
    private final Schema rowSchema;
    private final byte[] header;
    private final int law;
    private final ByteArrayOutputStream out = new ByteArrayOutputStream(512);
    private FixedKeyProcessorContext<byte[], byte[]> context;
    private KeyValueStore<byte[], byte[]> latest;
    private BinaryDecoder decoder;
    private BinaryEncoder encoder;
    private GenericRecord event;
    private GenericRecord held;

    KeepLatest(Schema event, Schema row, byte[] header, int law) {
      this.events = new GenericDatumReader<>(event);
      this.rows = new GenericDatumReader<>(row);
      this.writer = new GenericDatumWriter<>(row);
      this.rowSchema = row;
      this.header = header;
      this.law = law;
    }

    @Override
    public void init(FixedKeyProcessorContext<byte[], byte[]> context) {
      this.context = context;
      this.latest = context.getStateStore(STORE);
    }

    @Override
    public void process(FixedKeyRecord<byte[], byte[]> record) {
      try {
        event = read(events, event, record.value());
      } catch (IOException | RuntimeException undecodable) {
        event = null;
        return;
      }
      byte[] known = latest.get(record.key());
      byte[] row;
      try {
        boolean first = known == null;
        if (!first) {
          held = read(rows, held, known);
        }
        long stated = Math.min((Long) event.get("consent_date"), (Long) event.get("received_at"));
        long at = Math.floorDiv(stated, 1000L) * 1000L;
        boolean ret = isRet(event);
        if (!first) {
          long heldAt = (Long) held.get("effective_at");
          if (at < heldAt || at == heldAt && (isRet(held) || !ret)) {
            return;
          }
        }
        row = write(at, ret, first ? null : held);
      } catch (IOException impossible) {
        throw new IllegalStateException(impossible);
      }
      latest.put(record.key(), row);
      context.forward(record.withValue(row));
    }

    private static boolean isRet(GenericRecord record) {
      return "RET".contentEquals((CharSequence) record.get("status"));
    }

    private GenericRecord read(
        GenericDatumReader<GenericRecord> reader, GenericRecord reused, byte[] framed)
        throws IOException {
      decoder =
          DecoderFactory.get().binaryDecoder(framed, HEADER, framed.length - HEADER, decoder);
      return reader.read(reused, decoder);
    }

    private byte[] write(long at, boolean ret, GenericRecord before) throws IOException {
      Object onayAt = before == null ? null : before.get("latest_onay_at");
      Object retAt = before == null ? null : before.get("latest_ret_at");
      GenericRecord row = new GenericData.Record(rowSchema);
      for (String name : TAKEN_OVER) {
        row.put(name, event.get(name));
      }
      String opposite = ret ? "ONAY" : "RET";
      row.put("previous_status", (ret ? onayAt : retAt) == null ? null : opposite);
      row.put("effective_at", at);
      row.put("origin_rank", 0);
      row.put("registrable", true);
      row.put("latest_onay_at", ret ? onayAt : (Object) at);
      row.put("latest_ret_at", ret ? (Object) at : retAt);
      row.put("law_version", law);
      out.reset();
      out.write(header);
      encoder = EncoderFactory.get().binaryEncoder(out, encoder);
      writer.write(row, encoder);
      encoder.flush();
      return out.toByteArray();
    }
  }
}
