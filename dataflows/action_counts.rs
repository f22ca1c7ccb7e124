//! What devices did, by the hour: structured streaming's lesson on windows.

use thalweg::dataflow::in_zone;
use thalweg::format::time::Zone;
use thalweg::prelude::*;

/// actions in lines of JSON, by windows of time
#[derive(clap::Args)]
pub struct ActionCounts {
    /// how long a window is
    #[arg(long, value_name = "TIME", default_value = "1h")]
    length: Length,
    /// how far apart windows start; where it is not given, each starts as the one before ends
    #[arg(long, value_name = "TIME")]
    slide: Option<Length>,
    /// where the action is in a line, a path such as event.name
    #[arg(long, value_name = "PATH", default_value = "action")]
    action_field: String,
    /// where the time is
    #[arg(long, value_name = "PATH", default_value = "time")]
    time_field: String,
    /// where clocks show the times that name no zone, such as Europe/Berlin or +09:00
    #[arg(long, value_name = "ZONE", default_value_t)]
    zone: Zone,
    /// what becomes of lines that are not JSON: permissive, dropmalformed, failfast
    #[arg(long, value_name = "MODE", default_value = "permissive")]
    json_mode: JsonMode,
}

impl Dataflow for ActionCounts {
    const NAME: &'static str = "action-counts";
    const SOURCE: &'static str = "file:data/actions.jsonl";

    fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
        let window = Window::new(self.length, self.slide.unwrap_or(self.length))?;
        let window = in_zone(window, self.zone)?;
        let lines = Json::new([("action", &self.action_field), ("time", &self.time_field)])?
            .with_mode(self.json_mode);
        let zone = self.zone;
        let log = flow.records(lines).event_time(move |record| record.get("time").time_in(zone));
        // What is read of a line lives as long as the call, so it is given to a function and not returned.
        let actions = log.by_each(text("action"), |record, each| {
            record.text("action").iter().for_each(|action| each(action.as_bytes()));
        });
        let actions = actions.by_window(window).count("actions");
        actions.about("how often each action occurs in each window").show("actions");

        let corrupt =
            log.all().aggregate("corrupt", |all| all.count_if("lines", |record| record.corrupt().is_some()));
        corrupt.about("how many lines are not JSON, where --json-mode is permissive").show("corrupt");
        Ok(())
    }
}
