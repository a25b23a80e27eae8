/* For browsers too old for modules, so in the oldest JavaScript there is. The others never load this. */
(function () {
  var status = document.getElementById("status");
  var line = document.createElement("div");
  status.setAttribute("data-state", "closed");
  status.innerText = "Unsupported";
  line.className = "line failure";
  line.appendChild(document.createTextNode("Your browser does not support WebSockets."));
  (document.getElementById("log") || document.getElementById("page")).appendChild(line);
})();
