// Verifies a webhook by the official library; prints its type.
import { readFileSync } from "node:fs";
import { Webhook } from "standardwebhooks";

const { secret, headers, body } = JSON.parse(readFileSync(0, "utf-8"));
console.log(new Webhook(secret).verify(body, headers).type);
