import signal

LAST = 8


def test_a_stopped_server_has_a_notice(logs, open_tab, exp1):
    """After a second here, five in use; when the server answers again, the page continues."""
    tab = open_tab().set_constants("step_cache.js", SLOW=1000)
    tab.go(logs.address, runs='["exp1"]', layer="rgb", delta=0).drawn(LAST).loaded()
    logs.process.send_signal(signal.SIGSTOP)
    try:
        tab.choice("channels").select_option("1")
        tab.says(".alert", "has not answered for 1 seconds; the page waits for it")
    finally:
        logs.process.send_signal(signal.SIGCONT)
    tab.at.locator(".alert").wait_for(state="hidden")
    tab.loaded().shows(tab.canvas, logs.picture([exp1], "rgb", LAST, channels=1))


def test_a_request_without_an_answer_is_repeated(logs, open_tab, exp1):
    """After a minute, with a notice; then the page shows the answer."""
    # A request for new steps may be under way when the clock jumps: it is repeated soon as well.
    tab = open_tab().set_constants("page.js", MOST_POLL=1000)
    held = []
    tab.page.clock.install()
    tab.page.route("**/cells?*", lambda each: each.continue_() if held else held.append(each))
    tab.go(logs.address, runs='["exp1"]', layer="rgb")
    tab.wait(lambda: held, "a request")
    tab.page.clock.fast_forward(61_000)
    tab.says(".alert", "TensorBoard did not answer for 60 seconds. (It is asked again")
    tab.page.clock.fast_forward(4_000)
    tab.drawn(LAST).loaded()
    tab.at.locator(".alert").wait_for(state="hidden")
    tab.shows(tab.canvas, logs.picture([exp1], "rgb", LAST))
