//! The sweeper: the safety net behind all wake-ups.

use std::time::Duration;

use actix::prelude::*;

use super::fleet::Fleet;

/// How often ready lanes are looked for that nobody was woken for.
const SWEEP: Duration = Duration::from_secs(1);

/// Looks every second for lanes that are ready and wakes their actors; also the timer of those whose actor has
/// ended.
pub(crate) struct Sweeper {
    fleet: Fleet,
    is_sweeping: bool,
}

impl Sweeper {
    pub(crate) fn new(fleet: Fleet) -> Self {
        Self { fleet, is_sweeping: false }
    }

    fn sweep(&mut self, context: &mut Context<Self>) {
        if self.is_sweeping {
            return;
        }
        self.is_sweeping = true;
        let fleet = self.fleet.clone();
        let sweeping = async move { fleet.sweep().await };
        context.spawn(sweeping.into_actor(self).map(|(), sweeper, _| sweeper.is_sweeping = false));
    }
}

impl Actor for Sweeper {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        self.sweep(context);
        context.run_interval(SWEEP, Self::sweep);
    }
}

impl Supervised for Sweeper {
    fn restarting(&mut self, _: &mut Context<Self>) {
        self.is_sweeping = false;
    }
}

#[cfg(test)]
crate::kernel::panic_matrix::panics_when_told!(Sweeper);
