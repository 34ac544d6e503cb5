import java.io.ByteArrayOutputStream;
import java.io.IOException;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;

/**
 * The latest event of a key wins, as in latest_wins.py. One instance serves one thread: it reuses
 * its records and buffers.
 */
final class LatestWinsRule {
  private static final int HEADER = 10;
  private static final String[] TAKEN_OVER = {
    "customer_id", "brand_code", "type", "recipient_type", "recipient", "status",
    "event_id", "origin", "source", "consent_date",
  };

  private final GenericDatumReader<GenericRecord> events;
  private final GenericDatumReader<GenericRecord> rows;
  private final GenericDatumWriter<GenericRecord> writer;
  private final Schema rowSchema;
  private final byte[] header;
  private final int law;
  private final ByteArrayOutputStream out = new ByteArrayOutputStream(512);
  private BinaryDecoder decoder;
  private BinaryEncoder encoder;
  private GenericRecord event;
  private GenericRecord held;

  /** Schemas as JSON, the header of a framed Consent, and the version of the law. */
  LatestWinsRule(String event, String row, byte[] header, int law) {
    this.events = new GenericDatumReader<>(new Schema.Parser().parse(event));
    this.rowSchema = new Schema.Parser().parse(row);
    this.rows = new GenericDatumReader<>(rowSchema);
    this.writer = new GenericDatumWriter<>(rowSchema);
    this.header = header;
    this.law = law;
  }

  /**
   * Returns the framed row after a framed event, or null where the known row stays (null: the key
   * is new). An undecodable event is dropped.
   */
  byte[] after(byte[] framedEvent, byte[] known) {
    try {
      event = read(events, event, framedEvent);
    } catch (IOException | RuntimeException undecodable) {
      event = null;
      return null;
    }
    try {
      held = known == null ? null : read(rows, held, known);
      long stated = Math.min((Long) event.get("consent_date"), (Long) event.get("received_at"));
      long at = Math.floorDiv(stated, 1000L) * 1000L;
      boolean ret = isRet(event);
      if (held != null) {
        long heldAt = (Long) held.get("effective_at");
        if (at < heldAt || at == heldAt && (isRet(held) || !ret)) {
          return null;
        }
      }
      return write(at, ret, held);
    } catch (IOException impossible) {
      throw new IllegalStateException(impossible);
    }
  }

  private static boolean isRet(GenericRecord record) {
    return "RET".contentEquals((CharSequence) record.get("status"));
  }

  private GenericRecord read(
      GenericDatumReader<GenericRecord> reader, GenericRecord reused, byte[] framed)
      throws IOException {
    decoder = DecoderFactory.get().binaryDecoder(framed, HEADER, framed.length - HEADER, decoder);
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
