// What the widget of 2013 does on its page, and nothing better: it connects and emits its join in the same breath,
// once per page. The test gives it `settings`, is told by `heard` what it hears, and finds it in `widget`.

(function () {
  var url = settings.url;
  var legacy = io.protocol === 1;

  // As an option the list would be merged into that of all transports, index by index, and the others stay in it.
  if (legacy) io.transports = [settings.transport];

  var root = io.connect(url, settings.options);
  var socket = io.connect(url + "/max", settings.options);
  // The younger clients open another connection for a namespace that they have already.
  var again = legacy ? io.connect(url + "/max", settings.options) : socket;

  function tell(event) {
    socket.on(event, function (data) {
      heard(event, data);
    });
  }
  for (var i = 0; i < settings.events.length; i++) tell(settings.events[i]);
  root.on("connect", function () {
    heard("connect of the root");
  });
  again.on("listening", function () {
    heard("listening again");
  });

  window.widget = { root: root, socket: socket, again: again };
  socket.emit("join", { username: settings.username, timestamp: 1370000000000 });
})();
