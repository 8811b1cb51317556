//! Who waits for a request to begin, in the order of their turns.

use std::collections::VecDeque;
use std::sync::Arc;

use super::alarm::Alarm;
use super::member::ThrottleMember;

/// A channel, as its group knows it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) member: Arc<ThrottleMember>,
    pub(super) alarm: Arc<Alarm>,
}

/// Members take turns, and so do the channels of each.
#[derive(Debug, Default)]
pub(super) struct Line(VecDeque<Turn>);

/// A member, and the channels of it that wait: there is one at least.
#[derive(Debug)]
struct Turn {
    member: Arc<ThrottleMember>,
    alarms: VecDeque<Arc<Alarm>>,
}

impl Line {
    /// Whose turn it is.
    pub(super) fn front(&self) -> Option<&Arc<Alarm>> {
        self.0.front()?.alarms.front()
    }

    /// The channels of `member` that wait.
    pub(super) fn alarms_of(&self, member: &ThrottleMember) -> impl Iterator<Item = &Arc<Alarm>> {
        let turns = self.0.iter();
        let turns = turns.filter(move |turn| std::ptr::eq(&*turn.member, member));
        turns.flat_map(|turn| &turn.alarms)
    }

    /// Has a channel wait for its turn, if it does not yet.
    pub(super) fn join(&mut self, place: &Place) {
        let Some(turn) = self.turn_of(place) else {
            return self.0.push_back(Turn {
                member: place.member.clone(),
                alarms: [place.alarm.clone()].into(),
            });
        };
        if !turn.alarms.iter().any(|alarm| place.is(alarm)) {
            turn.alarms.push_back(place.alarm.clone());
        }
    }

    /// Has a channel wait no more.
    pub(super) fn leave(&mut self, place: &Place) {
        if let Some(turn) = self.turn_of(place) {
            turn.alarms.retain(|alarm| !place.is(alarm));
        }
        self.0.retain(|turn| !turn.alarms.is_empty());
    }

    /// Ends the turn of the one in front, who waits for another if there is `more` to do.
    pub(super) fn pass(&mut self, more: bool) {
        let Some(mut turn) = self.0.pop_front() else {
            return;
        };
        let alarm = turn.alarms.pop_front();
        turn.alarms.extend(alarm.filter(|_| more));
        if !turn.alarms.is_empty() {
            self.0.push_back(turn);
        }
    }

    fn turn_of(&mut self, place: &Place) -> Option<&mut Turn> {
        let mut turns = self.0.iter_mut();
        turns.find(|turn| Arc::ptr_eq(&turn.member, &place.member))
    }
}

impl Place {
    pub(super) fn is(&self, alarm: &Arc<Alarm>) -> bool {
        Arc::ptr_eq(&self.alarm, alarm)
    }
}
