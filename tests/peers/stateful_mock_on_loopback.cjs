// Run stripe-stateful-mock on loopback: node stateful_mock_on_loopback.cjs FOLDER PORT. Its own command listens on all interfaces.
const [folder, port] = process.argv.slice(2);
require(`${folder}/node_modules/stripe-stateful-mock`).createExpressApp().listen(Number(port), "127.0.0.1");
