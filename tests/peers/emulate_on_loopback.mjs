// Run the Stripe of emulate on loopback: node emulate_on_loopback.mjs FOLDER PORT.
// By its library: its command needs a newer Node than most machines have.
const [folder, port] = process.argv.slice(2);
const { createEmulator } = await import(`${folder}/node_modules/emulate/dist/api.js`);
await createEmulator({ service: "stripe", port: Number(port) });
