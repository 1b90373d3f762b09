//! Room for bodies that are being read and worked on, of all requests together: many large ones at once get 503
//! instead of the process all memory.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::Problem;

/// What there is room for, unless single bodies may be so large that this holds few of them.
const LEAST_BYTES: usize = 64 << 20;
/// So many of the largest bodies find room at least.
const LEAST_BODIES: usize = 8;
/// Room is given away in pieces of this size.
const PIECE_BYTES: usize = 1 << 10;

/// The room of all requests.
pub(crate) struct Room(Arc<Semaphore>);

/// What one request takes of it, as long as it lasts.
#[derive(Debug, Default)]
pub(crate) struct Place {
    n_bytes: usize,
    permit: Option<OwnedSemaphorePermit>,
}

impl Room {
    /// For bodies of up to so many bytes each.
    pub(crate) fn new(max_body_bytes: usize) -> Self {
        let n_bytes = LEAST_BYTES.max(max_body_bytes.saturating_mul(LEAST_BODIES));
        Self(Arc::new(Semaphore::new((n_bytes / PIECE_BYTES).min(Semaphore::MAX_PERMITS))))
    }

    /// Lets a place grow by so many bytes, or says 503.
    pub(crate) fn grow(&self, place: &mut Place, n_bytes: usize) -> Result<(), Problem> {
        let n_before = place.n_bytes.div_ceil(PIECE_BYTES);
        place.n_bytes += n_bytes;
        let n_more = place.n_bytes.div_ceil(PIECE_BYTES) - n_before;
        let n_more = u32::try_from(n_more).map_err(|_| Problem::contended())?;
        let more = Arc::clone(&self.0).try_acquire_many_owned(n_more).map_err(|_| Problem::contended())?;
        match &mut place.permit {
            Some(permit) => permit.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back() {
        let room = Room::new(1 << 20);
        let mut places: Vec<Place> = Vec::new();
        loop {
            let mut place = Place::default();
            let grown = room.grow(&mut place, 1).and_then(|()| room.grow(&mut place, (1 << 20) - 1));
            if grown == Err(Problem::contended()) {
                break;
            }
            places.push(place);
        }
        assert_eq!(places.len(), LEAST_BYTES >> 20);
        places.pop();
        let mut small = Place::default();
        assert_eq!(room.grow(&mut small, 10), Ok(()));
        assert_eq!(room.grow(&mut small, 10), Ok(()));
        assert_eq!(small.permit.as_ref().map(OwnedSemaphorePermit::num_permits), Some(1));
    }
}
